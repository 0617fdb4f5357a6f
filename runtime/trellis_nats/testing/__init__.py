"""For tests of services: a real NATS server in milliseconds, waiting for log events, access to a queue's internals.

The pytest fixture is in `trellis_nats.testing.plugin`, the only module that needs pytest.
"""

from trellis_nats._support.log_events import LogEvent
from trellis_nats.testing.inspection import inspect_queue
from trellis_nats.testing.log_signals import LogSignals
from trellis_nats.testing.server import NatsServer

__all__ = ["LogEvent", "LogSignals", "NatsServer", "inspect_queue"]
