"""One job: its facts, its timeline, its attempts with errors and logs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Final, cast

from trellis_nats.jobs.model.event import JobProgress
from trellis_nats.jobs.model.states import JobState
from trellis_nats.jobs.stacks import JobStack

from trellis_admin.payloads import Revealed, RevealedValue
from trellis_admin.projection.fingerprint import title_error
from trellis_admin.queries import (
    Attempt,
    AttemptEnd,
    Family,
    FamilyMember,
    HistoryEvent,
    JobHistory,
    StoredCheckpoint,
    VersionWait,
    Wait,
    WaitReason,
)
from trellis_admin.terminal import show_age, show_instant, show_length
from trellis_admin.terminal.tables import clean
from trellis_admin.terminal.wire_json import members_to_wire

__all__ = [
    "describe_event",
    "describe_history",
    "describe_stack",
    "describe_values",
    "history_to_wire",
    "show_json_text",
    "show_progress",
]

_LOGS_SHOWN: Final = 20
_WIDTH: Final = 13
_SHORT: Final = timedelta(milliseconds=100)
"""A worker that is free takes a job sooner: such waits are not shown."""
_BAR: Final = 40
"""Characters of the timeline's lanes."""


def describe_history(
    history: JobHistory,
    family: Family | None,
    now: datetime,
    *,
    recreated: str | None = None,
    version_wait: VersionWait | None = None,
    silent_since: datetime | None = None,
    held_back: str | None = None,
) -> str:
    """Return everything about a job but its payload.

    Args:
        history: the job.
        family: what it was created by, and what it created.
        now: for ages.
        recreated: the job that was created again instead of it, if it is stale.
        version_wait: why no worker begins it, if it waits for another version.
        silent_since: when its worker sent its last heartbeat, if it runs and its worker is silent.
        held_back: why it is not begun though it is due, with what to do.
    """
    parts = ["\n".join(_facts(history, now))]
    lanes = _timeline(history, now)
    if lanes:
        parts.append("\n".join(["Timeline", *lanes]))
    newest_first = history.attempts[::-1]
    for attempt, newer in zip(newest_first, (None, *newest_first), strict=False):
        waits = history.state is JobState.RETRY and attempt is newest_first[0]
        parts.append("\n".join(_attempt(attempt, newer, now, has_next=waits)))
    steps = _operator_steps(history.events)
    if steps:
        parts.append("\n".join(["Operators", *steps]))
    if family is not None and any(member.children for member in family.roots):
        parts.append("\n".join(["Lineage", *_family(family.roots, history.id, "  ")]))
    advice = _advise(history, now, recreated, version_wait, silent_since) or held_back
    if advice:
        parts.append(advice)
    return "\n\n".join(parts)


def _advise(
    history: JobHistory,
    now: datetime,
    recreated: str | None,
    version_wait: VersionWait | None,
    silent_since: datetime | None,
) -> str | None:
    """Return what an operator can do next, and why the job does not go on."""
    match history.state:
        case JobState.DEAD:
            return f"next: trellis dead replay {history.id}, or trellis dead dismiss {history.id}"
        case JobState.FAILED:
            return f"next: trellis jobs retry {history.id}"
        case JobState.STALE if recreated is not None:
            return f"created again as {recreated}"
        case JobState.STALE:
            return f"next: if its work is still wanted, trellis jobs recreate {history.id} --contract PACKAGE"
        case _ if version_wait is not None:
            return (
                f"it is due, and the workers that are free cannot read it: contract version {version_wait.digest} wrote it, and they have "
                f"{', '.join(version_wait.live)}\nnext: run a process of that version, or one with an upcaster; else it fails when `version_patience` ends"
            )
        case _ if silent_since is not None:
            return (
                f"its worker sent its last heartbeat {show_age(silent_since, now)}: it was killed, lost the network, or is frozen. The job "
                "runs again within twice the ack wait where another worker is alive\nnext: trellis workers, and start one if none is alive"
            )
        case _:
            return None


def _facts(history: JobHistory, now: datetime) -> Iterator[str]:
    attempts = f"attempt {history.tries} of {history.max_tries}" if history.tries else "not begun"
    yield f"{history.id}  {history.state}, {attempts}"

    def when(instant: datetime | None) -> str | None:
        return None if instant is None else f"{show_instant(instant)} UTC, {show_age(instant, now)}"

    checkpoint = history.checkpoint
    facts: list[tuple[str, str | None]] = [
        ("queue", f"{history.service}/{history.queue}"),
        ("created", when(history.created_at)),
        ("ended", when(history.ended_at)),
        ("deadline", when(history.deadline)),
        ("error", history.error),
        ("key", history.key),
        ("payload", _size(history.payload_size) or "no longer stored"),
        ("result", _size(history.result_size)),
        (
            "checkpoint",
            None if checkpoint is None else f"{show_age(checkpoint.at, now)}, {_size(checkpoint.size)}",
        ),
        ("contract", history.digest),
        ("trace", history.trace_id or None),
        ("request", history.request_id or None),
        ("trigger", _trigger(history.trigger)),
        ("sequence", f"{history.last_sequence:,}"),
    ]
    for name, value in facts:
        if value:
            yield f"  {name:<{_WIDTH}}{clean(value)}"
    if history.is_cut:
        yield "  there are more events than are read: reports in the middle are left out"


def _size(size: int | None) -> str | None:
    return None if size is None else f"{size:,} bytes; --payload shows it"


def _trigger(trigger: object) -> str | None:
    kind = cast("dict[str, object]", trigger).get("kind") if isinstance(trigger, dict) else None
    return str(kind) if kind else None


def _timeline(history: JobHistory, now: datetime) -> list[str]:
    """Return a lane for each wait and each attempt, in order, to scale."""
    end = history.ended_at or now
    whole = max((end - history.created_at).total_seconds(), 0.001)

    def lane(begin: datetime, until: datetime | None, mark: str) -> str:
        first = int((begin - history.created_at).total_seconds() / whole * _BAR)
        last = int(((until or end) - history.created_at).total_seconds() / whole * _BAR)
        first = min(max(first, 0), _BAR - 1)
        return f"{' ' * first}{mark * max(1, min(last, _BAR) - first)}".ljust(_BAR)

    spans: list[tuple[datetime, str]] = [
        (wait.since, f"  {lane(wait.since, wait.until, '·')}  {_wait(wait, end)}")
        for wait in history.waits
        if wait.reason is not WaitReason.QUEUED or (wait.until or end) - wait.since >= _SHORT
    ]
    spans += [
        (
            attempt.started_at,
            f"  {lane(attempt.started_at, attempt.known_until, '━')}  {_ran(attempt, end)}",
        )
        for attempt in history.attempts
    ]
    return [text for _, text in sorted(spans, key=lambda span: span[0])]


def _ran(attempt: Attempt, end: datetime) -> str:
    return f"attempt {attempt.number}, {_length(attempt, end)}, {_end(attempt)}"


def _length(attempt: Attempt, now: datetime) -> str:
    length = show_length((attempt.ended_at or now) - attempt.started_at)
    return f"at most {length}" if attempt.end is AttemptEnd.LOST else length


def _wait(wait: Wait, end: datetime) -> str:
    length = show_length((wait.until or end) - wait.since)
    return f"{wait.reason}, {length}{'' if wait.until else ' so far'}"


def _end(attempt: Attempt) -> str:
    if attempt.end is AttemptEnd.RELEASED:
        return "given back by a stopping worker: it does not count"
    if attempt.end is AttemptEnd.LOST:
        return "worker lost"
    return attempt.end


def _attempt(attempt: Attempt, newer: Attempt | None, now: datetime, *, has_next: bool) -> Iterator[str]:
    yield f"Attempt {attempt.number}, {_end(attempt)}"
    yield (
        f"  started {show_instant(attempt.started_at)} on {attempt.worker or 'an unknown worker'}, waited "
        f"{show_length(attempt.waited)}, ran {_length(attempt, now)}"
    )
    is_same = newer is not None and attempt.error == newer.error and attempt.stack == newer.stack
    if attempt.error:
        yield f"  same error as attempt {newer.number}" if is_same and newer else f"  {_error_title(attempt)}"
    if attempt.stack and not is_same:
        yield from (f"    {_printable(line)}" for line in attempt.stack.rstrip().split("\n"))
    if attempt.progress is not None:
        yield f"  progress: {show_progress(attempt.progress)}"
    for checkpoint in attempt.checkpoints[-1:]:
        yield f"  checkpoint at {show_instant(checkpoint.at)}, {checkpoint.size:,} bytes"
    hidden = len(attempt.logs) - _LOGS_SHOWN
    if hidden > 0:
        yield f"  {hidden:,} earlier log lines; --json has them"
    for line in attempt.logs[-_LOGS_SHOWN:]:
        yield f"  {line.at:%H:%M:%S}.{line.at.microsecond // 1000:03} {line.level:<5} {clean(line.message)}"
    if has_next and attempt.next_at is not None:
        yield f"  the next attempt begins {show_age(attempt.next_at, now)}, at {show_instant(attempt.next_at)}"


def _error_title(attempt: Attempt) -> str:
    return title_error(attempt.error_type, clean(attempt.error or ""))


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else " " for character in line).rstrip()


def show_progress(progress: JobProgress) -> str:
    """Return a progress report on one line."""
    parts = [part for part in (progress.step, progress.message) if part]
    text = ": ".join(map(clean, parts))
    try:
        share = _share(progress)
    except OverflowError:  # other runtimes report integers of any size
        share = ""
    if text and share:
        return f"{text} ({share})"
    return text or share or "-"


def _share(progress: JobProgress) -> str:
    if progress.current is None:
        return ""
    if not progress.total:
        return f"{progress.current:g}"
    return f"{progress.current:g} of {progress.total:g}, {progress.current / progress.total:.0%}"


def _operator_steps(events: Sequence[HistoryEvent]) -> list[str]:
    return [
        f"  {show_instant(event.stored_at)}  {event.kind} by {clean(event.actor)}"
        + (f" ({clean(event.source)})" if event.source else "")
        + (f": {clean(event.reason)}" if event.reason else "")
        + (f"  [bulk {event.bulk}]" if event.bulk else "")
        for event in events
        if event.actor
    ]


def _family(members: Sequence[FamilyMember], own_id: str, indent: str) -> Iterator[str]:
    for member in members:
        mark = "  <- this job" if member.job.id == own_id else ""
        yield f"{indent}{member.job.queue} {member.job.id} {member.job.state}{mark}"
        yield from _family(member.children, own_id, indent + "  ")


def describe_event(event: HistoryEvent) -> str:
    """Return one event on one line: for lists of events, and for watching."""
    parts = [f"{event.sequence:>10,}", show_instant(event.stored_at), event.kind]
    if event.kind in {"started", "retry", "dead", "failed"}:
        parts.append(f"attempt {event.tries}")
    if event.progress is not None:
        parts.append(show_progress(event.progress))
    if event.error:
        parts.append(title_error(event.error_type, clean(event.error)))
    if event.not_before is not None:
        parts.append(f"next at {show_instant(event.not_before)}")
    if event.actor:
        parts.append(f"by {clean(event.actor)}" + (f": {clean(event.reason)}" if event.reason else ""))
    if not event.is_counted:
        parts.append("(does not count)")
    return "  ".join(parts)


def describe_stack(stack: JobStack) -> str:
    """Return what a handler does, the innermost frame last."""
    lag = f", event loop {show_length(stack.loop_lag)} late" if stack.loop_lag > timedelta(0) else ""
    lines = [
        f"{stack.job_id}  attempt {stack.attempt} on {clean(stack.instance_id)}, {stack.place}{lag}, at {show_instant(stack.at)} UTC"
    ]
    if stack.is_cut:
        lines.append("  …")
    lines += [f"  {clean(frame.file)}:{frame.line}  {clean(frame.function)}" for frame in stack.frames]
    return "\n".join(lines)


def history_to_wire(history: JobHistory, revealed: Revealed | None) -> dict[str, object]:
    """Return a job as JSON. Its payload, result and checkpoints are `null` unless they were revealed."""
    result = None if revealed is None else revealed.result
    shown = _members(history) | {
        "payload": None if revealed is None else revealed.text,
        "hidden": () if revealed is None else revealed.hidden,
        "result": None if result is None else result.text,
        "result_hidden": () if result is None else result.hidden,
        "checkpoint": None if history.checkpoint is None else _checkpoint(history.checkpoint, revealed),
        "attempts": [
            _members(attempt)
            | {"checkpoints": [_checkpoint(stored, revealed) for stored in attempt.checkpoints]}
            for attempt in history.attempts
        ],
    }
    return members_to_wire(shown)


def _members(of: JobHistory | Attempt | StoredCheckpoint) -> dict[str, object]:
    return {part.name: getattr(of, part.name) for part in fields(of)}


def _checkpoint(stored: StoredCheckpoint, revealed: Revealed | None) -> Mapping[str, object]:
    value = None if revealed is None else revealed.checkpoints.get(stored.sequence)
    return _members(stored) | {
        "value": None if value is None else value.text,
        "hidden": () if value is None else value.hidden,
    }


def describe_values(revealed: Revealed, history: JobHistory) -> list[str]:
    """Return the payload, the result and the newest checkpoint, each with what of it is hidden."""
    newest = None if history.checkpoint is None else revealed.checkpoints.get(history.checkpoint.sequence)
    named = (("Payload", revealed.payload), ("Result", revealed.result), ("Checkpoint", newest))
    return [_describe_value(name, value) for name, value in named if value is not None]


def _describe_value(name: str, value: RevealedValue) -> str:
    if value.hidden == ("",):
        return f"{name}\n  hidden: the contract calls it secret, or does not declare it"
    note = f" (hidden: {', '.join(value.hidden)})" if value.hidden else ""
    return f"{name}{note}\n{show_json_text(value.text)}"


def show_json_text(data: bytes) -> str:
    """Return stored JSON as it is stored, indented where every number stays exactly as it is written."""
    try:
        parsed = json.loads(data, parse_float=_Literal, parse_int=_Literal)
    except ValueError:
        return data.decode(errors="replace")
    return _indent(parsed, "")


class _Literal(str):
    """A number as it is written."""

    __slots__ = ()


def _indent(value: object, margin: str) -> str:
    deeper = margin + "  "
    if isinstance(value, _Literal):
        return str(value)
    if isinstance(value, dict) and value:
        members = cast("dict[str, object]", value)
        lines = [f"{deeper}{json.dumps(name)}: {_indent(item, deeper)}" for name, item in members.items()]
        return "{\n" + ",\n".join(lines) + f"\n{margin}}}"
    if isinstance(value, list) and value:
        lines = [f"{deeper}{_indent(item, deeper)}" for item in cast("list[object]", value)]
        return "[\n" + ",\n".join(lines) + f"\n{margin}]"
    return json.dumps(value)
