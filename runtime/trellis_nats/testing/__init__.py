"""For tests of services: a real NATS server in milliseconds, a clock that a test moves, and handlers called directly.

The pytest fixture is in `trellis_nats.testing.plugin`, the only module that needs pytest.
"""

from trellis_nats._support.log_events import LogEvent
from trellis_nats.testing.active_job import RecordedJob, active_job, call
from trellis_nats.testing.captured import CapturedEvents
from trellis_nats.testing.clock import TestClock
from trellis_nats.testing.drain import NotDrained
from trellis_nats.testing.log_signals import LogSignals
from trellis_nats.testing.server import NatsServer
from trellis_nats.testing.service_under_test import TEST_OPTIONS, ServiceUnderTest, service_under_test
from trellis_nats.testing.unconnected import unconnected
from trellis_nats.testing.worked_jobs import CreatedJob, DrainReport, WorkedJob

__all__ = [
    "TEST_OPTIONS",
    "CapturedEvents",
    "CreatedJob",
    "DrainReport",
    "LogEvent",
    "LogSignals",
    "NatsServer",
    "NotDrained",
    "RecordedJob",
    "ServiceUnderTest",
    "TestClock",
    "WorkedJob",
    "active_job",
    "call",
    "service_under_test",
    "unconnected",
]
