"""When the history of an ended job is due to go. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from trellis_nats.ids import is_token
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.options import Retention

__all__ = ["ages", "is_due", "job_filter"]


def ages(retention: Retention) -> dict[timedelta, list[EventType]]:
    """Group the events that end a job by how long it is kept after them; what is kept for ever is left out."""
    kept = {
        EventType.COMPLETED: retention.completed,
        EventType.CANCELLED: retention.cancelled,
        EventType.EXPIRED: retention.expired,
        EventType.SKIPPED: retention.skipped,
        EventType.FAILED: retention.failed,
        EventType.STALE: retention.stale,
        EventType.DEAD: retention.dead,
        EventType.DISMISSED: retention.dismissed,
    }
    groups: dict[timedelta, list[EventType]] = {}
    for event, age in kept.items():
        if age is not None:
            groups.setdefault(age, []).append(event)
    return groups


def is_due(
    newest: LifecycleEvent | None, *, stored: datetime, until: datetime, events: list[EventType]
) -> bool:
    """Say whether a job whose newest event was stored at an instant has ended long enough ago.

    `events` are those that end a job, of one age. Only the newest event counts: a job that failed
    once and was sent again has not ended.
    """
    return newest is not None and newest.event_type in events and stored <= until


def job_filter(subject: str) -> str | None:
    """Return the filter for every event of the job that an event's subject names; None where there is no such job.

    A server stores a subject with a literal `*` in it, which as a filter would mean every job.
    """
    *prefix, job_id, _ = subject.split(".")
    return ".".join((*prefix, job_id, ">")) if is_token(job_id) else None
