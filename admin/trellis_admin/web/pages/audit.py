"""The audit log: what operators changed or saw, and why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from trellis_nats.clock import timestamp

from trellis_admin.audit_log import (
    Action,
    AuditEntry,
    AuditFilter,
    AuditFilterProblem,
    AuditRecord,
    Kind,
    Phase,
    count_audit,
    parse_audit_filter,
    read_audit,
)
from trellis_admin.web.console import Console
from trellis_admin.web.exports import save_rows
from trellis_admin.web.frame import show
from trellis_admin.web.links import path
from trellis_admin.web.pages.jobs import read_sequence
from trellis_admin.web.text import day, plural

__all__ = ["show_audit"]

_ROWS: Final = 50
_COLUMNS: Final = (
    "id",
    "at",
    "actor",
    "source",
    "kind",
    "action",
    "target",
    "reason",
    "outcome",
    "text",
    "sequence",
)
_CHIPS: Final = (
    (Kind.BULK, "bulk", "bulk"),
    (Kind.QUEUE, "pause, resume", "pause"),
    (Kind.JOB, "single jobs", "jobs"),
    (Kind.KEY, "keys", "keys"),
    (Kind.PAYLOAD, "revealed", "eye"),
)
_LOOKS: Final = {
    Action.CANCEL: ("s-cancelled", "s-cancelled", "cancelled", "cancels"),
    Action.RETRY: ("s-retry", "s-retry", "retried", "retries"),
    Action.REPLAY: ("s-retry", "s-retry", "replayed", "replays"),
    Action.EDIT: ("edit", "faint", "replayed with an edited payload", "replays with an edited payload"),
    Action.DISMISS: ("s-dismissed", "s-dismissed", "dismissed", "dismisses"),
    Action.RECREATE: ("s-retry", "s-retry", "created again", "creates again"),
    Action.PAUSE: ("pause", "s-retry", "paused", "pauses"),
    Action.RESUME: ("play", "s-completed", "resumed", "resumes"),
    Action.RATE: ("bulk", "faint", "changed the rate of", "changes the rate of"),
    Action.ABORT: ("x", "faint", "aborted", "aborts"),
    Action.RELEASE: ("keys", "s-stale", "freed key", "frees key"),
    Action.REVEAL: ("eye", "faint", "revealed the payload of", "reveals the payload of"),
}
"""Of each action: its icon, its class, its verb after it has ended, and its verb while it runs."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A kind of actions, and the address of its entries."""

    word: str
    icon: str
    count: int
    is_on: bool
    address: str


@dataclass(frozen=True, slots=True)
class Thing:
    """What an entry is about."""

    name: str
    address: str = ""
    place: str = ""
    """Where it is: ` of charge-payment`."""
    filter: str = ""
    """What chose the jobs of a bulk action."""
    is_id: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """An entry as a sentence."""

    record: AuditRecord
    sequence: int
    icon: str
    style: str
    verb: str
    thing: Thing
    rest: str


async def show_audit(request: Request) -> Response:
    """Show the entries that match a filter, the newest first; or save them."""
    console: Console = request.state.console
    text = " ".join(request.query_params.get("q", "").split())
    try:
        wanted = parse_audit_filter(text, datetime.now(UTC))
    except AuditFilterProblem as problem:
        return await show(request, "audit.html", "audit", {"text": text, "problem": str(problem)}, status=400)
    if kind := request.query_params.get("format"):
        return save_rows("audit", kind, _COLUMNS, _read_all(console, wanted), _cells)
    before = read_sequence(request.query_params.get("before"))
    page = await read_audit(console.connection, wanted, before=before, limit=_ROWS)
    counts = await count_audit(console.connection)
    now = datetime.now(UTC)
    lines = [_describe(request, entry) for entry in page.entries]
    days = [(name, [*group]) for name, group in groupby(lines, key=lambda line: day(line.record.at, now))]
    chips = [
        _make_chip(request, f"kind:{kind}", word, icon, counts.kinds[kind], text)
        for kind, word, icon in _CHIPS
    ]
    values = {
        "text": text,
        "problem": None,
        "counts": counts,
        "chips": [
            *chips,
            _make_chip(request, "outcome:refused,denied", "refused", "lock", counts.refused, text),
        ],
        "days": days,
        "older_address": ""
        if page.older is None
        else str(request.url.include_query_params(before=page.older)),
        "save_address": request.url.remove_query_params(["before"]),
    }
    return await show(request, "audit.html", "audit", values)


def _make_chip(request: Request, term: str, word: str, icon: str, count: int, text: str) -> Chip:
    return Chip(word, icon, count, text == term, f"{path(request, 'audit')}?q={term}")


def _describe(request: Request, entry: AuditEntry) -> Line:
    record, outcome = entry.record, entry.outcome
    icon, style, past, present = _LOOKS[record.action]
    thing = _describe_target(request, record)
    is_new = outcome is not None and outcome.text and not outcome.text.startswith(past.split()[0])
    rest = f": {outcome.text}" if outcome is not None and is_new else ""
    phase = Phase.BEGAN if outcome is None else outcome.phase
    if phase in {Phase.REFUSED, Phase.DENIED}:
        icon, style, verb = "lock", "s-dead", f"was refused: {record.action} of"
    elif phase is Phase.FAILED:
        icon, style, verb = "warn", "s-dead", f"{present}, with an unknown outcome:"
    else:
        verb = present if phase is Phase.BEGAN else past
    return Line(record, entry.sequence, icon, style, verb, thing, rest)


def _describe_target(request: Request, record: AuditRecord) -> Thing:
    target = {name: str(value) for name, value in record.target.items() if value is not None}
    place = f" of {target['queue']}" if "queue" in target else ""
    match record.kind:
        case Kind.JOB | Kind.PAYLOAD if "job" in target:
            return Thing(target["job"], path(request, "job", job=target["job"]), place, is_id=True)
        case Kind.QUEUE if {"service", "queue"} <= target.keys():
            address = path(request, "queue", service=target["service"], queue=target["queue"])
            return Thing(target["queue"], address)
        case Kind.BULK:
            address = path(request, "bulk_action", bulk=target.get("bulk", record.id))
            if not target.get("count", "").isdecimal():
                return Thing("a bulk action", address)
            return Thing(plural(int(target["count"]), "job"), address, filter=target.get("filter", ""))
        case Kind.KEY if "key" in target:
            return Thing(target["key"], "", place, is_id=True)
        case _:
            return Thing(target.get("queue") or target.get("job") or record.kind)


async def _read_all(console: Console, wanted: AuditFilter) -> AsyncIterator[Sequence[AuditEntry]]:
    before: int | None = None
    while True:
        page = await read_audit(console.connection, wanted, before=before, limit=_ROWS * 10)
        yield page.entries
        before = page.older
        if before is None:
            return


def _cells(entry: AuditEntry) -> Sequence[object]:
    record, outcome = entry.record, entry.outcome
    target = " ".join(f"{name}={value}" for name, value in record.target.items())
    phase, text = ("running", "") if outcome is None else (str(outcome.phase), outcome.text)
    return (
        record.id, timestamp(record.at), record.actor, record.source, str(record.kind), str(record.action), target,
        record.reason, phase, text, entry.sequence,
    )  # fmt: skip
