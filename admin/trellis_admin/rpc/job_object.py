"""Gives a job the form in which the admin RPCs return it (reference, 7.1). Pure.

The wire requires a payload. A job whose values are not revealed has `null` there, which every client takes, and no result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pydantic import JsonValue
from trellis_nats.clock import timestamp
from trellis_nats.codec import Codec, decode_json
from trellis_nats.errors import InvalidPayload
from trellis_nats.jobs.model.event import JobLogEntry, StoredEvent, instant
from trellis_nats.jobs.model.lifecycle import counting_events
from trellis_nats.jobs.model.states import TERMINAL_STATES, EventType, JobState

from trellis_admin.payloads import Revealed
from trellis_admin.rpc.trellis_jobs_participant import Job, JobProgress
from trellis_admin.rpc.trellis_jobs_participant import JobLogEntry as WireLogEntry

__all__ = ["WIRE_STATES", "states_named", "to_job"]

_jobs: Final = Codec[Job](Job, what="the job")
_progress: Final = Codec[object](JobProgress, what="the progress")
_lines: Final = Codec[object](WireLogEntry, what="the line")
_UNKNOWN_TO_THE_WIRE: Final = MappingProxyType(
    {JobState.SKIPPED: JobState.CANCELLED, JobState.STALE: JobState.FAILED}
)
"""The contract of the reference lacks these states (17.1), and its clients refuse a page that has one. A skipped job never
began and was given up for a newer one; a stale one lost its key. The error of either says so."""

WIRE_STATES: Final[Mapping[JobState, JobState]] = MappingProxyType(
    {state: _UNKNOWN_TO_THE_WIRE.get(state, state) for state in JobState}
)
"""How the wire names each state."""


def states_named(names: Iterable[str]) -> frozenset[JobState]:
    """Return the states that the wire gives any of these names."""
    wanted = frozenset(names)
    return frozenset(state for state, wire in WIRE_STATES.items() if wire.value in wanted)


def to_job(
    events: Sequence[StoredEvent], logs: Sequence[JobLogEntry] = (), revealed: Revealed | None = None
) -> Job | None:
    """Return a job; None where its events are not those of a job that the wire can name.

    Args:
        events: the newest event of each type, oldest first.
        logs: the lines that its handlers logged.
        revealed: its values, where the audit log says who asked for them.
    """
    counting = counting_events(events)
    created = next((stored.event for stored in events if stored.event.event_type == EventType.CREATED), None)
    if created is None or not counting:
        return None
    opening, newest = counting[0].event, counting[-1].event
    body: dict[str, JsonValue] = {
        "id": newest.job_id,
        "service": newest.service,
        "type": newest.job_type,
        "state": WIRE_STATES[newest.effective_state].value,
        "context": newest.job_context().members(),
        "payload": None,
        "createdAt": timestamp(created.at),
        "updatedAt": timestamp(newest.at),
        "tries": newest.tries,
        "maxTries": opening.max_tries or created.max_tries or 1,
    }
    deadline = instant(opening.deadline or created.deadline)
    if deadline is not None:
        body["deadline"] = timestamp(deadline)
    body |= _values(revealed) | _attempts(counting) | _reports(counting, logs)
    try:
        return _jobs.from_json(body)
    except InvalidPayload:
        return None


def _values(revealed: Revealed | None) -> dict[str, JsonValue]:
    """Return the payload and the result; without those that are text which is not Unicode."""
    if revealed is None:
        return {}
    shown = {"payload": revealed.payload, "result": revealed.result}
    found: dict[str, JsonValue] = {}
    for name, value in shown.items():
        with contextlib.suppress(ValueError):
            if value is not None:
                found[name] = decode_json(value.text)
    return found


def _attempts(counting: Sequence[StoredEvent]) -> dict[str, JsonValue]:
    """Return what the attempts of a job have left: times and an error."""
    by_type = {stored.event.event_type: stored.event for stored in counting}
    newest = counting[-1].event
    started, retry = by_type.get(EventType.STARTED), by_type.get(EventType.RETRY)
    has_ended = newest.effective_state in TERMINAL_STATES
    found: dict[str, JsonValue] = {}
    if started is not None:
        found["startedAt"] = timestamp(started.at)
    if has_ended:
        found["completedAt"] = timestamp(newest.at)
    error = newest.error if has_ended or retry is None else retry.error
    if error is not None:
        found["lastError"] = error
    return found


def _reports(counting: Sequence[StoredEvent], logs: Sequence[JobLogEntry]) -> dict[str, JsonValue]:
    """Return the progress and the lines that the wire can have."""
    found: dict[str, JsonValue] = {}
    for stored in counting:
        if stored.event.event_type == EventType.PROGRESS and stored.event.progress is not None:
            progress = stored.event.progress.model_dump(mode="json", by_alias=True, exclude_none=True)
            if _is_valid(_progress, progress):
                found["progress"] = progress
    lines = [line.model_dump(mode="json", by_alias=True) for line in logs]
    valid = [line for line in lines if _is_valid(_lines, line)]
    if valid:
        found["logs"] = [*valid]
    return found


def _is_valid(codec: Codec[object], value: JsonValue) -> bool:
    try:
        codec.from_json(value)
    except InvalidPayload:
        return False
    return True
