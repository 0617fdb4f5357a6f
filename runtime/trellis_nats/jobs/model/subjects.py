"""The streams and subjects of jobs, stated once; those of one queue are all under the binding's prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trellis_nats.jobs.model.states import EventType

__all__ = [
    "ADMIN_BUCKET",
    "ADVISORIES_STREAM",
    "AUDIT_PREFIX",
    "AUDIT_STREAM",
    "DELAYED_PREFIX",
    "DELAYED_STREAM",
    "EVENTS_PREFIX",
    "LEASES_PREFIX",
    "STREAM",
    "UPDATES_PREFIX",
    "WORKERS_PREFIX",
    "WORK_PREFIX",
    "WORK_STREAM",
    "JobSubjects",
    "liveness_subject",
    "stack_subject",
    "worker_heartbeat_subject",
]

STREAM: Final = "JOBS"
"""The stream that keeps every lifecycle event."""
WORK_STREAM: Final = "JOBS_WORK"
"""The stream that workers pull from, where no control plane gives another one."""
ADVISORIES_STREAM: Final = "JOBS_ADVISORIES"
"""The stream that keeps what the server reports about deliveries."""
DELAYED_STREAM: Final = "JOBS_DELAYED"
"""The stream that parks jobs which wait for long, where the server has schedules."""

AUDIT_STREAM: Final = "TRELLIS_AUDIT"
"""The stream that keeps what operators did, and why."""
ADMIN_BUCKET: Final = "TRELLIS_ADMIN"
"""The bucket of bulk actions, and of the leases of admin processes."""

AUDIT_PREFIX: Final = "trellis.audit"
"""The records of what operators did are published below it."""
EVENTS_PREFIX: Final = "trellis.jobs"
"""Lifecycle events are published below it."""
WORK_PREFIX: Final = "trellis.work"
"""The work stream stores work messages below it."""
DELAYED_PREFIX: Final = "trellis.delayed"
"""Parked jobs and the messages of due ones are published below it."""
WORKERS_PREFIX: Final = f"{EVENTS_PREFIX}.workers"
"""Workers publish their heartbeats below it."""
LEASES_PREFIX: Final = "duty"
"""The leases of leaders are stored below it, in the bucket of the service."""
UPDATES_PREFIX: Final = "trellis.job_updates"
"""Live updates are published below it, outside `EVENTS_PREFIX`: they are not stored."""


def liveness_subject(namespace: str, instance_id: str = "*") -> str:
    """Return the subject of questions about the jobs that a worker process runs; by default a filter for all processes."""
    # Outside `EVENTS_PREFIX`: the stream there would store the question, and answer it.
    return f"trellis.job_claims.{namespace}.{instance_id}"


def stack_subject(namespace: str, queue: str) -> str:
    """Return the subject on which the workers of a queue are asked for the stack of a job."""
    return f"trellis.job_stacks.{namespace}.{queue}"


def worker_heartbeat_subject(namespace: str, queue: str, instance_id: str = "*") -> str:
    """Return the subject of a worker's heartbeats for a queue; by default a filter for all workers."""
    return f"{WORKERS_PREFIX}.{namespace}.{queue}.{instance_id}.heartbeat"


@dataclass(frozen=True, slots=True)
class JobSubjects:
    """The subjects of one queue's jobs."""

    prefix: str
    """The binding's `publishPrefix`."""

    def event(self, job_id: str, event: str) -> str:
        """Where an event of a job is published."""
        return f"{self.prefix}.{job_id}.{event}"

    def job(self, job_id: str) -> str:
        """A filter for every event of one job."""
        return f"{self.prefix}.{job_id}.>"

    def question(self, instance_id: str = "*") -> str:
        """Where a worker process is asked about jobs of the queue if it may not use `liveness_subject`.

        The stream would store a message there: send it with `request_unstored`. By default a filter for all processes.
        """
        return f"{self.prefix}.{instance_id}.claim"

    def cancellations(self) -> str:
        """A filter for the cancellations of every job of the queue."""
        return f"{self.prefix}.*.{EventType.CANCELLED}"

    def parked(self, job_id: str) -> str:
        """Where a job is parked: at most one message. `*` is a filter for the parked jobs of the queue."""
        return f"{DELAYED_PREFIX}.at.{self._tokens}.{job_id}"

    @property
    def due(self) -> str:
        """Where the server publishes the parked jobs of the queue when they are due."""
        return f"{DELAYED_PREFIX}.due.{self._tokens}"

    @property
    def _tokens(self) -> str:
        return self.prefix.removeprefix(f"{EVENTS_PREFIX}.")

    def parse(self, subject: str) -> tuple[str, str] | None:
        """Split the subject of an event into job id and event; None for any other subject."""
        head, _, tail = subject.partition(self.prefix + ".")
        job_id, _, event = tail.partition(".")
        return (job_id, event) if not head and job_id and event and "." not in event else None
