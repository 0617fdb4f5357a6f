"""A job as it stands now, built from the newest event of each type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from trellis_nats.clock import parse_timestamp
from trellis_nats.codec import Codec
from trellis_nats.context import Context
from trellis_nats.jobs.model.event import JobProgress, LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.states import TERMINAL_STATES, EventType, JobState

__all__ = ["SNAPSHOT_EVENTS", "JobSnapshot", "snapshot_of", "types_to_read"]

PayloadT = TypeVar("PayloadT")
ResultT = TypeVar("ResultT")

SNAPSHOT_EVENTS: Final = (
    EventType.CREATED,
    EventType.RETRIED,
    EventType.STARTED,
    EventType.PROGRESS,
    EventType.RETRY,
    EventType.STALE_COMPLETION_IGNORED,
    EventType.COMPLETED,
    EventType.FAILED,
    EventType.CANCELLED,
    EventType.EXPIRED,
    EventType.SKIPPED,
    EventType.STALE,
    EventType.DEAD,
    EventType.DISMISSED,
)
"""The events that a snapshot is made of: one read for each, however long the history is."""

_ENDINGS_OF_ENDED: Final = {
    EventType.DEAD: frozenset({EventType.FAILED, EventType.EXPIRED}),
    EventType.DISMISSED: frozenset({EventType.DEAD}),
}
"""The terminal events that may follow another one (reference, 8.1)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSnapshot(Generic[PayloadT, ResultT]):
    """A job as it stood when it was read."""

    id: str
    queue: str
    state: JobState
    payload: PayloadT
    result: ResultT | None
    """The result once the job is completed."""
    context: Context
    tries: int
    """How many attempts were started, except those that a stopping worker released."""
    max_tries: int
    last_error: str | None
    progress: JobProgress | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    """When the newest attempt started."""
    ended_at: datetime | None
    deadline: datetime | None

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL_STATES


def types_to_read(newest: LifecycleEvent) -> tuple[EventType, ...]:
    """Return the types of the events that a snapshot needs in addition to the newest event of its job.

    A newest event that reports work proves nothing about the end of the job: another runtime, which writes without a
    fence, may have stored it behind the event that ended the job.
    """
    match newest.event_type:
        case EventType.CREATED:
            return ()  # nothing comes before it
        case EventType.RETRIED:
            return (EventType.CREATED,)  # nothing else before it counts
        case _:
            return tuple(event for event in SNAPSHOT_EVENTS if event != newest.event_type)


def snapshot_of(
    events: Sequence[StoredEvent], *, payload: Codec[PayloadT], result: Codec[ResultT] | None
) -> JobSnapshot[PayloadT, ResultT] | None:
    """Build a snapshot; None when the job was never created.

    `events` holds the newest event of each type, oldest first.

    Raises:
        InvalidPayload: the payload or the result does not match its type.
    """
    by_type = {stored.event.event_type: stored for stored in events}
    seed = by_type.get(EventType.RETRIED) or by_type.get(EventType.CREATED)
    if seed is None or not seed.event.has_payload:
        return None
    since = [stored for stored in events if stored.sequence >= seed.sequence]
    newest = effective(since)
    started = _since(by_type, EventType.STARTED, seed)
    progress = _since(by_type, EventType.PROGRESS, seed)
    retried = _since(by_type, EventType.RETRY, seed)
    state = newest.event.effective_state
    ended = state in TERMINAL_STATES
    created = by_type.get(EventType.CREATED, seed)
    event = newest.event
    return JobSnapshot(
        id=event.job_id,
        queue=event.job_type,
        state=state,
        payload=payload.from_json(seed.event.payload),
        result=result.from_json(event.result) if result is not None and state == JobState.COMPLETED else None,
        context=event.job_context(),
        tries=event.tries,
        max_tries=seed.event.max_tries or 1,
        last_error=event.error if ended or retried is None else retried.event.error,
        progress=None if progress is None else progress.event.progress,
        created_at=parse_timestamp(created.event.timestamp),
        updated_at=parse_timestamp(event.timestamp),
        started_at=None if started is None else parse_timestamp(started.event.timestamp),
        ended_at=parse_timestamp(event.timestamp) if ended else None,
        deadline=None if seed.event.deadline is None else parse_timestamp(seed.event.deadline),
    )


def effective(since: Sequence[StoredEvent]) -> StoredEvent:
    """Return the event that decides the state: the newest one, or the first legal ending.

    A server before 2.11 may have stored an event behind a terminal one; it is ignored.
    """
    ending: StoredEvent | None = None
    for stored in since:
        if stored.event.is_terminal and (
            ending is None
            or ending.event.event_type
            in _ENDINGS_OF_ENDED.get(EventType(stored.event.event_type), frozenset())
        ):
            ending = stored
    return since[-1] if ending is None else ending


def _since(by_type: dict[str, StoredEvent], event: EventType, seed: StoredEvent) -> StoredEvent | None:
    found = by_type.get(event)
    return found if found is not None and found.sequence > seed.sequence else None
