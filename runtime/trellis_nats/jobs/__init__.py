"""Jobs: create, submit, handle, follow."""

from trellis_nats.jobs.actions.queue_stats import QueueStats
from trellis_nats.jobs.dead_job import DeadJob
from trellis_nats.jobs.facade import Jobs, WorkerHost
from trellis_nats.jobs.keys.lease import JobLease
from trellis_nats.jobs.maintenance.rescue_report import RescueReport
from trellis_nats.jobs.model.error_detail import ErrorDetail
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress
from trellis_nats.jobs.model.queue_pause import QueuePause
from trellis_nats.jobs.model.snapshot import JobSnapshot
from trellis_nats.jobs.model.states import JobState
from trellis_nats.jobs.queue import JobQueue
from trellis_nats.jobs.ref import JobRef
from trellis_nats.jobs.store.event_stream import JobEvent
from trellis_nats.jobs.submission import Accepted, Coalesced, Rejected, Replaced, Submission
from trellis_nats.jobs.work.active_job import ActiveJob

__all__ = [
    "Accepted",
    "ActiveJob",
    "Coalesced",
    "DeadJob",
    "ErrorDetail",
    "JobEvent",
    "JobLease",
    "JobLogEntry",
    "JobProgress",
    "JobQueue",
    "JobRef",
    "JobSnapshot",
    "JobState",
    "Jobs",
    "QueuePause",
    "QueueStats",
    "Rejected",
    "Replaced",
    "RescueReport",
    "Submission",
    "WorkerHost",
]
