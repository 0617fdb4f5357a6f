"""Builds the history of a job from its events: attempts, waits, logs, checkpoints. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from trellis_nats.jobs.keys.model.event_fields import stored_key
from trellis_nats.jobs.model.error_detail import ErrorDetail
from trellis_nats.jobs.model.event import JobProgress, LifecycleEvent, instant
from trellis_nats.jobs.model.lifecycle import JobLife
from trellis_nats.jobs.model.outcome import RELEASED
from trellis_nats.jobs.model.states import STATE_EVENTS, EventType, JobState

from trellis_admin.projection.codes import from_milliseconds
from trellis_admin.projection.event_members import error_type_of, is_of, read_action, read_worker
from trellis_admin.projection.fingerprint import split_error
from trellis_admin.projection.fold import happened_at
from trellis_admin.projection.incoming import Incoming, job_place, read_value
from trellis_admin.queries.history_rows import (
    Attempt,
    AttemptEnd,
    HistoryEvent,
    JobHistory,
    LogLine,
    StoredCheckpoint,
    Wait,
    WaitReason,
)

__all__ = ["build_history"]

_ENDS: Final = {
    EventType.COMPLETED: AttemptEnd.COMPLETED,
    EventType.FAILED: AttemptEnd.FAILED,
    EventType.RETRY: AttemptEnd.RETRY,
    EventType.DEAD: AttemptEnd.DEAD,
    EventType.CANCELLED: AttemptEnd.CANCELLED,
    EventType.EXPIRED: AttemptEnd.EXPIRED,
    EventType.STALE: AttemptEnd.STALE,
    EventType.STALE_COMPLETION_IGNORED: AttemptEnd.STALE,
}


def build_history(
    prefix: str, job_id: str, messages: Sequence[Incoming], *, is_cut: bool
) -> JobHistory | None:
    """Return the history that messages of a job make, oldest first; None where none of them creates or replays it.

    Args:
        prefix: the publish prefix of its queue.
        job_id: its id.
        messages: what the stream has under the subjects of the job.
        is_cut: whether there are more.
    """
    timeline = _Timeline()
    for message in messages:
        place, event = job_place(message.subject), LifecycleEvent.parse(message.data)
        if place is not None and event is not None and is_of(event, place):
            timeline.take(message, event)
        else:
            timeline.pass_over(message)
    return timeline.finish(prefix, job_id, is_cut=is_cut)


@dataclass(slots=True)
class _OpenAttempt:
    """An attempt that is being built."""

    number: int
    worker: str | None
    started_at: datetime
    seen_at: datetime
    waited: timedelta
    logs: list[LogLine] = field(default_factory=list[LogLine])
    progress: JobProgress | None = None
    checkpoints: list[StoredCheckpoint] = field(default_factory=list[StoredCheckpoint])

    def close(
        self,
        end: AttemptEnd,
        at: datetime | None,
        event: LifecycleEvent | None,
        next_at: datetime | None = None,
    ) -> Attempt:
        """Return the attempt as it ended."""
        detail = None if event is None else ErrorDetail.read(event.error_detail)
        return Attempt(
            number=self.number,
            worker=self.worker,
            started_at=self.started_at,
            seen_at=at if at is not None and event is not None else self.seen_at,
            ended_at=at,
            waited=self.waited,
            end=end,
            error=None if event is None else event.error,
            error_type=None if event is None else _error_type(event),
            stack=None if detail is None else detail.stack,
            logs=tuple(self.logs),
            progress=self.progress,
            checkpoints=tuple(self.checkpoints),
            next_at=next_at,
        )


class _Timeline:
    """What the events so far make."""

    def __init__(self) -> None:
        self._life = JobLife()
        self._events: list[HistoryEvent] = []
        self._attempts: list[Attempt] = []
        self._open: _OpenAttempt | None = None
        self._waits: list[Wait] = []
        self._logs: list[LogLine] = []
        self._checkpoint: StoredCheckpoint | None = None
        self._created: LifecycleEvent | None = None
        self._created_at: datetime | None = None
        self._seed: LifecycleEvent | None = None
        self._payload: tuple[int, int, str] | None = None
        self._result: tuple[int, int] | None = None
        self._newest: LifecycleEvent | None = None
        self._state_sequence = 0
        self._last_sequence = 0
        self._last_at: datetime | None = None
        self._error: str | None = None
        self._waits_since: datetime | None = None
        """Since when the job waits; None while it runs and after it ended."""
        self._begins_at: datetime | None = None
        """When it may begin at the earliest, where that is later."""
        self._reason = WaitReason.DELAY

    def pass_over(self, message: Incoming) -> None:
        """Take a message under the job's subjects that is not an event of it. A job has it as its last one, too."""
        if self._last_sequence:
            self._last_sequence = message.sequence

    def take(self, message: Incoming, event: LifecycleEvent) -> None:
        """Take the next event of the job."""
        at = from_milliseconds(happened_at(event, message.stored_at))
        self._last_sequence = message.sequence
        is_known = self._seed is not None or event.event_type in (EventType.CREATED, EventType.RETRIED)
        is_counted = is_known and self._life.take(event)
        self._events.append(_describe(message, event, is_counted=is_counted))
        if not is_counted:
            return
        state = None if self._newest is None else self._newest.effective_state
        if event.event_type in STATE_EVENTS or event.effective_state is not state:
            self._state_sequence = message.sequence
        self._newest, self._last_at = event, at
        match event.event_type:
            case EventType.CREATED | EventType.RETRIED:
                self._begin(message, event, at)
            case EventType.STARTED:
                self._start(event, at)
            case (
                EventType.PROGRESS
                | EventType.LOGGED
                | EventType.HEARTBEAT
                | EventType.WAITING
                | EventType.RESUMED
            ):
                self._report(message, event, at)
            case _:
                self._end(message, event, at)

    def finish(self, prefix: str, job_id: str, *, is_cut: bool) -> JobHistory | None:
        """Return the history."""
        seed, newest = self._seed, self._newest
        if seed is None or newest is None:
            return None
        created = self._created or seed
        result = self._result if newest.effective_state is JobState.COMPLETED else None
        if self._open is not None:
            self._attempts.append(self._open.close(AttemptEnd.RUNNING, None, None))
        self._end_wait(None)
        key = stored_key(seed) or stored_key(created)
        ended = self._life.has_ended
        return JobHistory(
            id=job_id,
            prefix=prefix,
            service=created.service,
            queue=created.job_type,
            state=newest.effective_state,
            state_sequence=self._state_sequence,
            last_sequence=self._last_sequence,
            tries=newest.tries,
            max_tries=seed.max_tries or created.max_tries or 1,
            error=self._error,
            created_at=self._created_at or from_milliseconds(0),
            ended_at=self._last_at if ended else None,
            deadline=instant(seed.deadline or created.deadline),
            events=tuple(self._events),
            attempts=tuple(self._attempts),
            waits=tuple(self._waits),
            logs=tuple(self._logs),
            payload_size=None if self._payload is None else self._payload[0],
            payload_sequence=None if self._payload is None else self._payload[1],
            result_size=None if result is None else result[0],
            result_sequence=None if result is None else result[1],
            checkpoint=self._checkpoint,
            key=None if key is None else key.text,
            key_hash=None if key is None else key.hash,
            trigger=seed.trigger or created.trigger,
            lineage=seed.lineage or created.lineage,
            digest=None if self._payload is None else self._payload[2] or None,
            trace_id=created.context.trace_id,
            request_id=created.context.request_id,
            traceparent=created.context.traceparent,
            is_cut=is_cut,
        )

    def _begin(self, message: Incoming, event: LifecycleEvent, at: datetime) -> None:
        self._close(AttemptEnd.LOST, at, None)
        self._end_wait(at)
        self._seed, self._error, self._result = event, None, None
        if event.event_type == EventType.CREATED:
            self._created = event
        if event.event_type == EventType.CREATED or self._created_at is None:
            self._created_at = at
        size = _size(message, "payload")
        if size is not None:
            self._payload = (size, message.sequence, message.digest)
        self._wait(at, event, WaitReason.DELAY)

    def _start(self, event: LifecycleEvent, at: datetime) -> None:
        # An attempt that another one follows without an end was lost with its worker; nothing says when.
        self._close(AttemptEnd.LOST, at, None)
        could_begin = max(
            (moment for moment in (self._waits_since, self._begins_at) if moment is not None), default=at
        )
        self._end_wait(at)
        self._open = _OpenAttempt(
            number=event.tries,
            worker=read_worker(event),
            started_at=at,
            seen_at=at,
            waited=max(at - could_begin, timedelta(0)),
        )

    def _report(self, message: Incoming, event: LifecycleEvent, at: datetime) -> None:
        lines = [
            LogLine(instant(line.timestamp) or at, line.level, line.message, message.sequence)
            for line in event.logs or ()
        ]
        self._logs += lines
        size = _size(message, "checkpoint")
        if size is not None:
            self._checkpoint = StoredCheckpoint(at, message.sequence, size)
        if self._open is None:
            return
        self._open.seen_at = at
        self._open.logs += lines
        if event.event_type == EventType.PROGRESS:
            self._open.progress = event.progress
        if size is not None and self._checkpoint is not None:
            self._open.checkpoints.append(self._checkpoint)

    def _end(self, message: Incoming, event: LifecycleEvent, at: datetime) -> None:
        """Take an event that ends an attempt, the job, or both."""
        is_retry = event.event_type == EventType.RETRY
        end = _ENDS.get(EventType(event.event_type))
        if is_retry and event.error == RELEASED:
            end = AttemptEnd.RELEASED
        if end is not None:
            self._close(end, at, event)
        if event.event_type == EventType.STALE_COMPLETION_IGNORED:
            return
        self._error = event.error
        size = _size(message, "result")
        self._result = None if size is None else (size, message.sequence)
        self._end_wait(at)
        if is_retry:
            self._wait(at, event, WaitReason.BACKOFF)

    def _close(self, end: AttemptEnd, at: datetime, event: LifecycleEvent | None) -> None:
        if self._open is not None:
            next_at = None if event is None else instant(event.not_before)
            self._attempts.append(self._open.close(end, at, event, next_at))
            self._open = None

    def _wait(self, since: datetime, event: LifecycleEvent, reason: WaitReason) -> None:
        until = instant(event.not_before)
        self._waits_since, self._reason = since, reason
        self._begins_at = until if until is not None and until > since else None

    def _end_wait(self, until: datetime | None) -> None:
        """End the wait: first for the time of the job, then for a worker."""
        since, begins_at = self._waits_since, self._begins_at
        self._waits_since = self._begins_at = None
        if since is None:
            return
        if begins_at is not None:
            if until is not None and until <= begins_at:
                self._waits.append(Wait(self._reason, since, until))
                return
            self._waits.append(Wait(self._reason, since, begins_at))
            since = begins_at
        self._waits.append(Wait(WaitReason.QUEUED, since, until))


def _describe(message: Incoming, event: LifecycleEvent, *, is_counted: bool) -> HistoryEvent:
    action, detail = read_action(event), ErrorDetail.read(event.error_detail)
    return HistoryEvent(
        sequence=message.sequence,
        kind=message.subject.rpartition(".")[2],
        is_counted=is_counted,
        state=event.effective_state,
        tries=event.tries,
        stored_at=from_milliseconds(message.stored_at),
        written_at=instant(event.timestamp),
        error=event.error,
        error_type=_error_type(event),
        stack=None if detail is None else detail.stack,
        worker=read_worker(event),
        progress=event.progress,
        not_before=instant(event.not_before),
        actor=None if action is None else action.actor,
        reason=None if action is None else action.reason,
        source=None if action is None else action.source,
        bulk=None if action is None else action.bulk,
        digest=message.digest or None,
    )


def _error_type(event: LifecycleEvent) -> str | None:
    return error_type_of(event) or (None if event.error is None else split_error(event.error).type)


def _size(message: Incoming, name: str) -> int | None:
    """Return how many bytes a member of an event has; None where the event does not have it."""
    stored = read_value(message, name)
    return None if stored is None else len(stored)
