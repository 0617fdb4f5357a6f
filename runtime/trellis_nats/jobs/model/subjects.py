"""The subjects of one queue's jobs, all under the binding's prefix."""

from __future__ import annotations

from dataclasses import dataclass

from trellis_nats.jobs.model.states import EventType

__all__ = ["STREAM", "JobSubjects"]

STREAM = "JOBS"
"""The stream that keeps every lifecycle event."""


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

    def cancellations(self) -> str:
        """A filter for the cancellations of every job of the queue."""
        return f"{self.prefix}.*.{EventType.CANCELLED}"

    def all(self) -> str:
        """A filter for every event of every job of the queue."""
        return f"{self.prefix}.>"

    def parse(self, subject: str) -> tuple[str, str] | None:
        """Split the subject of an event into job id and event; None for any other subject."""
        head, _, tail = subject.partition(self.prefix + ".")
        job_id, _, event = tail.partition(".")
        return (job_id, event) if not head and job_id and event and "." not in event else None
