"""Decides which ended jobs have been kept for long enough. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from trellis_nats.ids import is_token
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.options import Retention

__all__ = ["group_by_age", "is_due", "job_filter"]


def group_by_age(retention: Retention) -> dict[timedelta, list[EventType]]:
    """Group the events that end a job by how long the job is kept after them; events without a limit are left out."""
    ages = {
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
    for event, age in ages.items():
        if age is not None:
            groups.setdefault(age, []).append(event)
    return groups


def is_due(
    newest: LifecycleEvent | None, *, stored: datetime, until: datetime, events: list[EventType]
) -> bool:
    """Return whether a job ended with one of `events`, no later than `until`.

    Only the newest event counts: a job that failed and was then retried by an operator has not ended.
    """
    return newest is not None and newest.event_type in events and stored <= until


def job_filter(subject: str) -> str | None:
    """Return the filter that matches every event of the job in an event's subject. None: the job id is not valid.

    A server stores a subject that contains a literal `*`; as a filter, it would match every job.
    """
    *prefix, job_id, _ = subject.split(".")
    return ".".join((*prefix, job_id, ">")) if is_token(job_id) else None
