"""Folds events into the rows of jobs, by the runtime's own rule of which events count. Pure: rows come in and go out.

The same events give the same rows, whatever pages they arrive in.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from trellis_nats.jobs.keys.model.event_fields import stored_key
from trellis_nats.jobs.model.event import JobProgress, LifecycleEvent, instant
from trellis_nats.jobs.model.lifecycle import is_counted
from trellis_nats.jobs.model.outcome import RELEASED as RELEASED_TEXT
from trellis_nats.jobs.model.raw_members import raw_members
from trellis_nats.jobs.model.states import STATE_EVENTS, EventType, JobState

from trellis_admin.projection.arguments import list_arguments
from trellis_admin.projection.codes import (
    DELTA,
    EVENT_KINDS,
    FIRST_ENDED,
    IGNORED,
    MINUTE,
    RELEASED,
    RUN,
    STATE_CODES,
    STATES,
    WAIT,
    bucket_of,
    to_milliseconds,
)
from trellis_admin.projection.event_members import (
    clean_text,
    error_type_of,
    is_of,
    read_action,
    read_lineage,
    read_trigger,
    read_worker,
)
from trellis_admin.projection.fingerprint import fingerprint_of, pattern_of, split_error
from trellis_admin.projection.heartbeats import read_heartbeat
from trellis_admin.projection.incoming import Incoming, JobPlace, heartbeat_place, job_place
from trellis_admin.projection.rows import Job, Pattern, Worker

__all__ = ["Changes", "JobId", "fold", "happened_at"]

JobId = tuple[str, str]
"""A publish prefix and an id."""

_ERROR_MAX: Final = 1_000
_KEY_MAX: Final = 1_000
_PROGRESS_MAX: Final = 2_000
_NUMBER_MAX: Final = 2**31
_PENDING: Final = STATE_CODES[JobState.PENDING]
_ACTIVE: Final = STATE_CODES[JobState.ACTIVE]


@dataclass(slots=True)
class Changes:
    """What a page of events changes."""

    jobs: dict[JobId, Job | None]
    """The rows of the jobs that events are of, as they are now; None for a job that was never created. It is given the rows
    as they were before."""
    series: Counter[tuple[str, int, int]] = field(default_factory=Counter[tuple[str, int, int]])
    """By prefix, minute and kind."""
    spans: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    """The first and the last sequence of the events that made states in a minute."""
    arguments: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """The hashes of the arguments of jobs, by the sequences of their creation."""
    patterns: dict[int, Pattern] = field(default_factory=dict[int, Pattern])
    workers: dict[tuple[str, str], Worker] = field(default_factory=dict[tuple[str, str], Worker])
    """By process and prefix."""
    malformed: int = 0


def fold(changes: Changes, message: Incoming, salt: bytes) -> None:
    """Fold the next message.

    Args:
        changes: what the messages before it changed. It has the row of the job, if there is one.
        message: a message of the stream; what is not an event is counted and changes nothing.
        salt: of the index of arguments.
    """
    place = job_place(message.subject)
    if place is None:
        _fold_heartbeat(changes, message)
        return
    job = changes.jobs.get((place.prefix, place.id))
    event = LifecycleEvent.parse(message.data)
    if event is None or not is_of(event, place):
        changes.malformed += 1
        if job is not None:
            job.last_seq = message.sequence
        return
    at = happened_at(event, message.stored_at)
    if job is None and event.event_type != EventType.CREATED:
        return
    ended_by = None if job is None or job.state < FIRST_ENDED else STATES[job.state].value
    if not is_counted(event.event_type, ended_by):
        if job is not None:
            job.last_seq = message.sequence
            if event.event_type in EVENT_KINDS:
                changes.series[place.prefix, at // MINUTE, IGNORED] += 1
        return
    if event.event_type == EventType.CREATED:
        _create(changes, place, event, message, at, salt)
    elif job is not None:
        _advance(changes, job, event, message, at)


def happened_at(event: LifecycleEvent, stored_at: int) -> int:
    """Return when an event happened: as its writer says, unless that cannot be, as under a clock that is ahead.

    Both are milliseconds since 1970.

    Args:
        event: the event.
        stored_at: when the server stored it.
    """
    written = instant(event.timestamp)
    if written is None:
        return stored_at
    at = to_milliseconds(written)
    return at if 0 <= at <= stored_at else stored_at


def _create(
    changes: Changes, place: JobPlace, event: LifecycleEvent, message: Incoming, at: int, salt: bytes
) -> None:
    """Make the row of a job. A second `created` begins the job again, as its workers do."""
    before = changes.jobs.get((place.prefix, place.id))
    minute = at // MINUTE
    if before is not None:
        changes.series[place.prefix, minute, DELTA + before.state] -= 1
        changes.arguments.pop(before.created_seq, None)
    trace = event.context
    parent, root = read_lineage(event)
    job = Job(
        created_seq=message.sequence,
        id=place.id,
        prefix=place.prefix,
        service=clean_text(event.service),
        queue=clean_text(event.job_type),
        state=_PENDING,
        state_seq=message.sequence,
        last_seq=message.sequence,
        created_at=at,
        updated_at=at,
        state_at=at,
        tries=min(event.tries, _NUMBER_MAX),
        max_tries=min(event.max_tries or 1, _NUMBER_MAX),
        trace_id=clean_text(trace.trace_id) or None,
        request_id=clean_text(trace.request_id) or None,
        parent_id=parent,
        root_id=root,
        deadline=_stored(event.deadline),
        next_at=_later_than(at, event.not_before),
    )
    _take_seed(job, event, message)
    if event.has_payload:
        job.payload_bytes, hashes = _read_payload(message.data, salt)
        if hashes:
            changes.arguments[message.sequence] = hashes
    changes.jobs[place.prefix, place.id] = job
    _note_minute(changes, minute, message.sequence)
    changes.series[place.prefix, minute, EVENT_KINDS[EventType.CREATED]] += 1
    changes.series[place.prefix, minute, DELTA + _PENDING] += 1


def _note_minute(changes: Changes, minute: int, sequence: int) -> None:
    """Note that a state was made in a minute by the event with a sequence."""
    first, last = changes.spans.get(minute, (sequence, sequence))
    changes.spans[minute] = (min(first, sequence), max(last, sequence))


def _take_seed(job: Job, event: LifecycleEvent, message: Incoming) -> None:
    """Take what `created` and `retried` say about the job."""
    key = stored_key(event)
    if key is not None:
        job.key, job.key_hash = clean_text(key.text, _KEY_MAX), key.hash
    job.digest = message.digest or job.digest
    job.trigger = read_trigger(event) or job.trigger
    _take_action(job, event)


def _advance(changes: Changes, job: Job, event: LifecycleEvent, message: Incoming, at: int) -> None:
    """Fold an event that counts into the row of its job."""
    kind, state, minute = event.event_type, STATE_CODES[event.effective_state], at // MINUTE
    job.last_seq, job.updated_at = message.sequence, at
    if state != job.state:
        changes.series[job.prefix, minute, DELTA + job.state] -= 1
        changes.series[job.prefix, minute, DELTA + state] += 1
    code = EVENT_KINDS.get(EventType(kind))
    if code is not None:
        is_released = kind == EventType.RETRY and event.error == RELEASED_TEXT
        changes.series[job.prefix, minute, RELEASED if is_released else code] += 1
    _measure(changes, job, kind, state, at)
    if event.progress is not None and kind == EventType.PROGRESS:
        job.progress = _write_progress(event.progress)
    job.tries = min(event.tries, _NUMBER_MAX)
    if kind not in STATE_EVENTS and state == job.state:
        return  # a report of an attempt that is known to run
    job.state, job.state_seq, job.state_at = state, message.sequence, at
    _note_minute(changes, minute, message.sequence)
    job.ended_at = at if state >= FIRST_ENDED else None
    job.next_at = None
    if kind == EventType.STARTED:
        job.started_at, job.worker, job.progress = at, read_worker(event), None
    elif kind == EventType.RETRIED:
        _begin_again(job, event, message, at)
    elif kind == EventType.RETRY:
        job.next_at = _later_than(at, event.not_before)
        _take_error(changes, job, event)
    elif state >= FIRST_ENDED:
        _take_error(changes, job, event)
    _take_action(job, event)


def _begin_again(job: Job, event: LifecycleEvent, message: Incoming, at: int) -> None:
    """Fold `retried`: everything but the identity of the job begins again."""
    job.max_tries = min(event.max_tries or job.max_tries, _NUMBER_MAX)
    job.deadline = _stored(event.deadline) or job.deadline
    job.next_at = _later_than(at, event.not_before)
    job.started_at = job.error = job.error_type = job.fingerprint = job.progress = job.worker = None
    _take_seed(job, event, message)


def _measure(changes: Changes, job: Job, kind: str, state: int, at: int) -> None:
    """Count how long the job waited, or ran, before this event."""
    minute = at // MINUTE
    if kind == EventType.STARTED and job.state != _ACTIVE:
        waited = at - max(job.state_at, job.next_at or 0)
        changes.series[job.prefix, minute, WAIT + bucket_of(waited)] += 1
    elif job.state == _ACTIVE and state != _ACTIVE and job.started_at is not None:
        changes.series[job.prefix, minute, RUN + bucket_of(at - job.started_at)] += 1


def _write_progress(progress: JobProgress) -> str | None:
    """Return a report as JSON: what is shown of it, and not what else a runtime put there."""
    members = {name: getattr(progress, name) for name in ("step", "message", "current", "total")}
    text = json.dumps(
        {name: value for name, value in members.items() if value is not None}, ensure_ascii=False
    )
    return clean_text(text, _PROGRESS_MAX) if len(text) <= _PROGRESS_MAX else None


def _take_error(changes: Changes, job: Job, event: LifecycleEvent) -> None:
    if event.error is None:
        job.error = job.error_type = job.fingerprint = None
        return
    error = clean_text(event.error, _ERROR_MAX)
    split = split_error(error)
    error_type = error_type_of(event) or split.type
    text = pattern_of(split.message)
    job.error, job.error_type = error, error_type
    job.fingerprint = fingerprint_of(event.service, event.job_type, error_type, text)
    changes.patterns[job.fingerprint] = Pattern(error_type, text)


def _take_action(job: Job, event: LifecycleEvent) -> None:
    action = read_action(event)
    if action is not None:
        job.actor = action.actor or job.actor
        job.bulk = action.bulk or job.bulk


def _fold_heartbeat(changes: Changes, message: Incoming) -> None:
    place = heartbeat_place(message.subject)
    worker = None if place is None else read_heartbeat(*place, message)
    if worker is None:
        changes.malformed += 1
        return
    before = changes.workers.get((worker.instance, worker.prefix))
    if before is not None:
        worker.first_at = before.first_at
    changes.workers[worker.instance, worker.prefix] = worker


def _read_payload(data: bytes, salt: bytes) -> tuple[int, list[int]]:
    """Return the size of the payload of an event, and the hashes of its scalars."""
    try:
        text = raw_members(data).get("payload", b"")
        # Numbers stay text: every digit of a large one counts.
        value: object = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return 0, []
    return len(text), list_arguments(value, salt)


def _stored(text: str | None) -> int | None:
    at = instant(text)
    return None if at is None else to_milliseconds(at)


def _later_than(at: int, text: str | None) -> int | None:
    """Return an instant if it is later than another one."""
    until = _stored(text)
    return until if until is not None and until > at else None
