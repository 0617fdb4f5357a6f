"""The states of a job and the events that change them, as the wire names them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["STATE_AFTER", "STATE_EVENTS", "TERMINAL_EVENTS", "TERMINAL_STATES", "EventType", "JobState"]


class JobState(StrEnum):
    """The state of a job."""

    PENDING = "pending"
    """Created, or sent again by an operator; no handler has begun."""
    ACTIVE = "active"
    """A handler runs, or its worker died with it."""
    RETRY = "retry"
    """An attempt failed, and the next one waits for its time."""
    COMPLETED = "completed"
    FAILED = "failed"
    """The handler gave up, or the payload or the result does not match its schema."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """The deadline passed first."""
    SKIPPED = "skipped"
    """A newer job of the same key took its place."""
    STALE = "stale"
    """Its lease on the key was taken over."""
    DEAD = "dead"
    """Every attempt failed."""
    DISMISSED = "dismissed"
    """An operator dismissed a dead job."""


class EventType(StrEnum):
    """What happens to a job."""

    CREATED = "created"
    STARTED = "started"
    PROGRESS = "progress"
    LOGGED = "logged"
    CHECKPOINT = "checkpoint"
    """The last token of the subject only: to other runtimes its body is a `logged` without lines, which they all know."""
    RETRY = "retry"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SKIPPED = "skipped"
    STALE = "stale"
    HEARTBEAT = "heartbeat"
    STALE_COMPLETION_IGNORED = "staleCompletionIgnored"
    RETRIED = "retried"
    DEAD = "dead"
    DISMISSED = "dismissed"
    WAITING = "waiting"
    RESUMED = "resumed"


TERMINAL_EVENTS: Final = frozenset(
    {
        EventType.COMPLETED,
        EventType.FAILED,
        EventType.CANCELLED,
        EventType.EXPIRED,
        EventType.SKIPPED,
        EventType.STALE,
        EventType.DEAD,
        EventType.DISMISSED,
    }
)
"""The events that end a job. Judge by these, never by the state that an event carries: other runtimes write
`staleCompletionIgnored` with the state `stale` while the job continues (reference, 8.6)."""

TERMINAL_STATES: Final = frozenset(JobState(event.value) for event in TERMINAL_EVENTS)

STATE_AFTER: Final[dict[str, JobState]] = {
    EventType.CREATED: JobState.PENDING,
    EventType.RETRIED: JobState.PENDING,
    EventType.RETRY: JobState.RETRY,
    **dict.fromkeys(
        (
            EventType.STARTED,
            EventType.PROGRESS,
            EventType.LOGGED,
            EventType.CHECKPOINT,
            EventType.HEARTBEAT,
            EventType.STALE_COMPLETION_IGNORED,
            EventType.WAITING,
            EventType.RESUMED,
        ),
        JobState.ACTIVE,
    ),
    **{event: JobState(event.value) for event in TERMINAL_EVENTS},
}
"""The state of a job after each event. The event's own `state` says the same, except where another runtime differs."""

STATE_EVENTS: Final = TERMINAL_EVENTS | {
    EventType.CREATED,
    EventType.RETRIED,
    EventType.STARTED,
    EventType.RETRY,
}
"""The events that make a state, the same one again included: a new attempt of an active job is one. The others report."""
