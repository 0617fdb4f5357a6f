"""Jobs: create, submit, handle, follow."""

from trellis_nats.jobs.active import ActiveJob
from trellis_nats.jobs.duties.report import ReconcileReport
from trellis_nats.jobs.event import JobLogEntry, JobProgress
from trellis_nats.jobs.facade import Jobs, WorkerHost
from trellis_nats.jobs.follow import JobEvent
from trellis_nats.jobs.keys.held import JobLease
from trellis_nats.jobs.queue import JobQueue
from trellis_nats.jobs.ref import JobRef
from trellis_nats.jobs.snapshot import JobSnapshot
from trellis_nats.jobs.states import JobState
from trellis_nats.jobs.submission import Accepted, Coalesced, Rejected, Replaced, Submission

__all__ = [
    "Accepted",
    "ActiveJob",
    "Coalesced",
    "JobEvent",
    "JobLease",
    "JobLogEntry",
    "JobProgress",
    "JobQueue",
    "JobRef",
    "JobSnapshot",
    "JobState",
    "Jobs",
    "ReconcileReport",
    "Rejected",
    "Replaced",
    "Submission",
    "WorkerHost",
]
