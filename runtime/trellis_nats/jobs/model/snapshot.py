"""A job as it stands now, built from the newest event of each type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeVar

from pydantic import JsonValue

from trellis_nats.codec import Codec
from trellis_nats.context import Context
from trellis_nats.jobs.model.error_detail import ErrorDetail
from trellis_nats.jobs.model.event import JobProgress, LifecycleEvent, StoredEvent, instant
from trellis_nats.jobs.model.lifecycle import begins_history, counting_events
from trellis_nats.jobs.model.payload_reader import PayloadReader
from trellis_nats.jobs.model.states import TERMINAL_STATES, EventType, JobState
from trellis_nats.jobs.model.writer import payload_writer

__all__ = ["SNAPSHOT_EVENTS", "JobSnapshot", "snapshot_of", "types_to_read"]

PayloadT = TypeVar("PayloadT")
ResultT = TypeVar("ResultT")

SNAPSHOT_EVENTS: Final = (
    EventType.CREATED,
    EventType.RETRIED,
    EventType.STARTED,
    EventType.PROGRESS,
    EventType.CHECKPOINT,
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


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSnapshot(Generic[PayloadT, ResultT]):
    """A job as it stood when it was read.

    `payload` and `result` are decoded when they are asked for. So a job can be looked at whatever another version of the
    contract, or another runtime, has stored in it.
    """

    id: str
    queue: str
    state: JobState
    raw_payload: JsonValue
    """The payload as it is stored, not validated; None also for a job that was created without one."""
    raw_result: JsonValue
    """The result as it is stored, not validated, once the job is completed."""
    context: Context
    """The request and trace that the job belongs to; they are those of its creation."""
    tries: int
    """How many attempts were started, except those that a stopping worker released."""
    max_tries: int
    """How many attempts the job has."""
    last_error: str | None
    """The error of the event that ended the job; while it has not ended, that of its last `retry`. None where there is none."""
    last_error_detail: ErrorDetail | None
    """The class and the stack of the exception behind `last_error`; None where no exception is, or no runtime stored it."""
    progress: JobProgress | None
    """The last progress report since the job was created or retried, maybe one of an earlier attempt."""
    last_checkpoint: JsonValue
    """What a handler of the job stored last with `job.checkpoint`, as JSON; None where none did. A retry by an operator
    keeps it."""
    created_at: datetime
    """When the job was created. Every time here is in UTC, by the clock of the process that wrote the event."""
    updated_at: datetime
    """When its newest event was written."""
    started_at: datetime | None
    """When the newest attempt started."""
    ended_at: datetime | None
    """When the job ended; None while it has not."""
    deadline: datetime | None
    """When the job expires unless it has ended; None for never."""
    _payloads: PayloadReader[PayloadT] = field(repr=False, compare=False)
    _writer: str = field(repr=False, compare=False)
    _result_codec: Codec[ResultT] | None = field(repr=False, compare=False)

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL_STATES

    @property
    def payload(self) -> PayloadT:
        """What the job was created with, upcast as for a handler where this process has an upcaster for it.

        Raises:
            InvalidPayload: the stored payload does not match its schema; `raw_payload` has it.
        """
        return self._payloads.read(self.raw_payload, self._writer).value

    @property
    def result(self) -> ResultT | None:
        """The result once the job is completed; None before, and for a queue without results.

        Raises:
            InvalidPayload: the stored result does not match its schema; `raw_result` has it.
        """
        if self._result_codec is None or self.state is not JobState.COMPLETED:
            return None
        return self._result_codec.from_json(self.raw_result)


def types_to_read(newest: LifecycleEvent) -> tuple[EventType, ...]:
    """Return the types of the events that a snapshot needs in addition to the newest event of its job.

    A newest event that reports work proves nothing about the end of the job: another runtime, which writes without a
    fence, may have stored it behind the event that ended the job.
    """
    if newest.event_type == EventType.CREATED:
        return ()  # nothing before it counts
    return tuple(event for event in SNAPSHOT_EVENTS if event != newest.event_type)


def snapshot_of(
    events: Sequence[StoredEvent], *, payloads: PayloadReader[PayloadT], result: Codec[ResultT] | None
) -> JobSnapshot[PayloadT, ResultT] | None:
    """Build a snapshot; None when the job was never created.

    `events` holds the newest event of each type, oldest first. The history of a job that begins again may have been purged
    up to the `retried` event, which has all that the job needs.
    """
    openings = {stored.event.event_type: stored for stored in events if begins_history(stored.event)}
    first = openings.get(EventType.CREATED) or openings.get(EventType.RETRIED)
    if first is None:
        return None
    counted = counting_events(events)
    payload_event = counted[0] if counted[0].event.has_payload else first
    counting = [stored.event for stored in counted]
    by_type = {event.event_type: event for event in counting}
    created, seed, newest = first.event, counting[0], counting[-1]
    started, retry = by_type.get(EventType.STARTED), by_type.get(EventType.RETRY)
    checkpoints = [
        stored.event for stored in events if stored.event.has_checkpoint and stored.sequence > first.sequence
    ]
    progress, completed = by_type.get(EventType.PROGRESS), by_type.get(EventType.COMPLETED)
    state = newest.effective_state
    ended = state in TERMINAL_STATES
    failed = newest if ended or retry is None else retry
    return JobSnapshot(
        id=newest.job_id,
        queue=newest.job_type,
        state=state,
        raw_payload=payload_event.event.payload,
        raw_result=None if completed is None else completed.result,
        context=newest.job_context(),
        tries=newest.tries,
        max_tries=seed.max_tries or created.max_tries or 1,
        last_error=failed.error,
        last_error_detail=ErrorDetail.read(failed.error_detail),
        progress=None if progress is None else progress.progress,
        last_checkpoint=checkpoints[-1].checkpoint if checkpoints else None,
        created_at=created.at,
        updated_at=newest.at,
        started_at=None if started is None else started.at,
        ended_at=newest.at if ended else None,
        deadline=instant(seed.deadline or created.deadline),
        _payloads=payloads,
        _writer=payload_writer(payload_event, first),
        _result_codec=result,
    )
