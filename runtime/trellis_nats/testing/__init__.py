"""What users import in their own tests: a real NATS server in milliseconds.

The pytest fixture is in `trellis_nats.testing.plugin`, which alone needs pytest.
"""

from trellis_nats.testing.server import NatsServer

__all__ = ["NatsServer"]
