"""What users import in their own tests: a real NATS server in milliseconds, and waiting for what the runtime logs.

The pytest fixture is in `trellis_nats.testing.plugin`, which alone needs pytest.
"""

from trellis_nats._support.log_events import LogEvent
from trellis_nats.testing.log_signals import LogSignals
from trellis_nats.testing.server import NatsServer

__all__ = ["LogEvent", "LogSignals", "NatsServer"]
