"""Bulk actions: all of them, and one with its outcome job by job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from sqlite3 import Connection
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from trellis_nats.errors import TransportError
from trellis_nats.jobs.model.states import JobState

from trellis_admin.bulk import BulkAction, BulkNotFound, BulkProblem, BulkRecord, BulkState
from trellis_admin.queries import (
    Count,
    JobPage,
    JobRow,
    Selection,
    Sort,
    count_states,
    list_jobs,
    parse_filter,
    read_status,
    snapshot,
)
from trellis_admin.web.charts import Share, meter
from trellis_admin.web.console import Console
from trellis_admin.web.frame import redirect, show
from trellis_admin.web.links import jobs_link, path
from trellis_admin.web.notices import Notice
from trellis_admin.web.pages.jobs import describe_job
from trellis_admin.web.problems import NotThere
from trellis_admin.web.protection import Form
from trellis_admin.web.questions import Question
from trellis_admin.web.text import duration, plural, typed_number

__all__ = ["BULK_LOOKS", "BULK_TITLES", "ask_bulk", "change_bulk", "list_recent", "show_bulk", "show_bulks"]

_ROWS: Final = 20
BULK_LOOKS: Final = {
    BulkState.RUNNING: ("active", "Running"),
    BulkState.WAITING: ("pending", "Waits for “go on”"),
    BulkState.PAUSED: ("retry", "Paused"),
    BulkState.STOPPED: ("dead", "Stopped"),
    BulkState.ABORTED: ("cancelled", "Aborted"),
    BulkState.DONE: ("completed", "Done"),
}
"""Of each state: the job state that it looks like, and its word."""
BULK_TITLES: Final = {
    BulkAction.CANCEL: "Cancellation",
    BulkAction.RETRY: "Retry",
    BulkAction.REPLAY: "Replay",
    BulkAction.DISMISS: "Dismissal",
}
_AGAIN: Final = {
    BulkAction.RETRY: {JobState.FAILED: "failed again", JobState.DEAD: "dead"},
    BulkAction.REPLAY: {JobState.DEAD: "dead again"},
}
"""What states are called of jobs that were sent again."""
_WAITS: Final = frozenset({BulkState.WAITING, BulkState.PAUSED, BulkState.STOPPED})


@dataclass(frozen=True, slots=True)
class BulkButton:
    """Something that an operator can do with a bulk action now."""

    name: str
    verb: str
    icon: str
    key: str = ""
    asks: bool = False


@dataclass(frozen=True, slots=True)
class TallyLine:
    """A count below the bar."""

    icon: str
    style: str
    word: str
    count: int
    address: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Banner:
    """What the action waits for, or why it stopped."""

    kind: str
    icon: str
    heading: str
    text: str


async def list_recent(request: Request, *, limit: int) -> list[BulkRecord]:
    """Return the newest bulk actions on dead jobs; none while no server answers."""
    console: Console = request.state.console
    if not console.connection.is_connected:
        return []
    try:
        records = await console.operator(request.state.identity).bulk.list_all()
    except TransportError:  # the page is worth more than this part of it
        return []
    return [record for record in records if record.action in {BulkAction.REPLAY, BulkAction.DISMISS}][:limit]


async def show_bulks(request: Request) -> Response:
    """Show all bulk actions, the newest first."""
    console: Console = request.state.console
    records = await console.operator(request.state.identity).bulk.list_all()
    values = {"records": records, "looks": BULK_LOOKS, "titles": BULK_TITLES}
    return await show(request, "bulks.html", "bulk", values)


async def show_bulk(request: Request) -> Response:
    """Show one bulk action."""
    console: Console = request.state.console
    bulk = console.operator(request.state.identity).bulk
    record = await _read_record(request)
    page, states = await console.query(_read_outcomes, record.id)
    refusals = await bulk.refusals(record.id) if record.refused else {}
    tally = _count(request, record, states)
    values = {
        "record": record,
        "title": f"{BULK_TITLES[record.action]} of {plural(record.count, 'job')}",
        "looks": BULK_LOOKS,
        "actions": offer_buttons(record) if request.state.identity.may_operate else [],
        "note": _describe_state(record),
        "handled": record.count - record.left,
        "pace": _describe_pace(record),
        "meter": _draw_meter(record, states),
        "tally": tally,
        "rows": page.rows,
        "words": _AGAIN.get(record.action, {}),
        "notes": _describe_outcome,
        "all_jobs": jobs_link(request, f"bulk:{record.id}"),
        "filter_address": jobs_link(request, record.filter),
        "refusals": list(refusals.items())[:100],
    }
    return await show(request, "bulk.html", "bulk", values)


async def ask_bulk(request: Request) -> Response:
    """Ask before a bulk action is changed."""
    record = await _read_record(request)
    question = _ask(request, record, request.path_params["action"])
    return await show(request, "question.html", "bulk", {"ask": question})


async def change_bulk(request: Request, form: Form) -> Response:
    """Pause a bulk action, let it go on, change its rate, or abort it."""
    console: Console = request.state.console
    bulk, bulk_id = console.operator(request.state.identity).bulk, request.path_params["bulk"]
    reason = form.one("reason").strip() or None
    back = path(request, "bulk_action", bulk=bulk_id)
    try:
        match request.path_params["action"]:
            case "pause":
                await bulk.pause(bulk_id, reason=reason)
                heading = "Paused. What was sent stays sent"
            case "go-on":
                await bulk.go_on(bulk_id, reason=reason)
                heading = "It goes on"
            case "rate":
                record = await bulk.change_rate(
                    bulk_id, float(typed_number(form.one("rate")) or 0), reason=reason
                )
                heading = f"The rate is {record.rate:g} jobs a second now"
            case "abort":
                await bulk.abort(bulk_id, reason=reason)
                heading = "Aborted. What was sent stays sent"
            case name:
                raise NotThere("There is no such action", f"{name} cannot be done with a bulk action.")
    except BulkProblem as problem:
        return redirect(request, back, Notice("bad", "Nothing was changed", str(problem)))
    return redirect(request, back, Notice("good", heading))


async def _read_record(request: Request) -> BulkRecord:
    console: Console = request.state.console
    try:
        return await console.operator(request.state.identity).bulk.read(request.path_params["bulk"])
    except BulkNotFound as problem:
        raise NotThere("There is no such bulk action", str(problem)) from None


def offer_buttons(record: BulkRecord) -> list[BulkButton]:
    """Return what can be done with a bulk action in its state."""
    if record.is_final:
        return []
    can_go_on = record.state in _WAITS
    first = (
        BulkButton("go-on", "Go on", "play", "u") if can_go_on else BulkButton("pause", "Pause", "pause", "u")
    )
    return [
        first,
        BulkButton("rate", "Change rate", "clock", asks=True),
        BulkButton("abort", "Abort", "x", asks=True),
    ]


def _read_outcomes(db: Connection, bulk_id: str) -> tuple[JobPage, Mapping[JobState, Count]]:
    with snapshot(db):
        wanted = parse_filter(f"bulk:{bulk_id}", datetime.now(UTC))
        selection = Selection(wanted, read_status(db).at)
        return list_jobs(db, selection, limit=_ROWS, sort=Sort.CHANGED), count_states(db, selection)


def _count(request: Request, record: BulkRecord, states: Mapping[JobState, Count]) -> list[TallyLine]:
    def of(*wanted: JobState) -> tuple[int, str]:
        link = jobs_link(request, f"bulk:{record.id} state:{','.join(wanted)}")
        return sum(states[state].number for state in wanted), link

    left = TallyLine("s-pending", "s-pending", "to come", record.left)
    refused = TallyLine("s-failed", "s-failed", "refused or changed before", record.refused + record.changed)
    match record.action:
        case BulkAction.CANCEL:
            return [
                TallyLine("s-cancelled", "s-cancelled", "cancelled", record.sent, of(JobState.CANCELLED)[1]),
                refused,
                left,
            ]
        case BulkAction.DISMISS:
            return [
                TallyLine("s-dismissed", "s-dismissed", "dismissed", record.sent, of(JobState.DISMISSED)[1]),
                refused,
                left,
            ]
        case BulkAction.RETRY | BulkAction.REPLAY:
            again, link = of(JobState.DEAD, JobState.FAILED)
            share = f"{100 * again / record.sent:.1f} %, stops at 5 %" if record.sent else "stops at 5 %"
            return [
                TallyLine("s-completed", "s-completed", "completed", *of(JobState.COMPLETED)),
                TallyLine(
                    "s-active",
                    "s-active",
                    "waits or runs",
                    *of(JobState.PENDING, JobState.ACTIVE, JobState.RETRY),
                ),
                TallyLine("s-dead", "s-dead", "dead again", again, link, share),
                refused,
                left,
            ]


def _draw_meter(record: BulkRecord, states: Mapping[JobState, Count]) -> object:
    completed = states[JobState.COMPLETED].number if record.action.sends else record.sent
    again = states[JobState.DEAD].number + states[JobState.FAILED].number if record.action.sends else 0
    open_ones = max(0, record.sent - completed - again)
    shares = [
        Share("completed", completed),
        Share("active", open_ones),
        Share("dead", again + record.refused),
        Share("idle", record.changed),
    ]
    label = (
        f"{completed:,} completed, {open_ones:,} wait or run, {again + record.refused:,} dead again or refused, "
        f"{record.left:,} to come"
    )
    return meter(shares, record.count, label, "wide")


def _describe_pace(record: BulkRecord) -> str:
    if record.is_final:
        ended = record.ended_at or record.created_at
        return f"ended after {duration(ended - (record.began_at or record.created_at))}"
    if record.rate is None:
        return "as fast as possible"
    left = timedelta(seconds=record.left / record.rate)
    return f"{record.rate:g} a second · about {duration(left)} left"


def _describe_state(record: BulkRecord) -> Banner | None:
    match record.state:
        case BulkState.WAITING:
            text = "Look at what became of them. The others are sent when an operator lets it go on."
            return Banner(
                "info", "s-pending", f"{plural(record.sent, 'job')} sent, and it waits for you", text
            )
        case BulkState.STOPPED:
            text = (
                f"{record.note}. What was sent stays sent; nothing else is, until an operator lets it go on."
            )
            return Banner("bad", "warn", "It stopped", text)
        case BulkState.ABORTED if record.note:
            return Banner("", "x", "Aborted", record.note)
        case BulkState.PAUSED:
            return Banner("", "pause", "Paused by an operator", "Nothing is sent until it goes on.")
        case _:
            return None


def _describe_outcome(job: JobRow) -> str:
    note = describe_job(job)
    parts = [f"attempt {job.tries}" if job.tries else "", note.kind, note.text, note.ran]
    return " · ".join(part for part in parts if part)


def _ask(request: Request, record: BulkRecord, name: str) -> Question:
    back = path(request, "bulk_action", bulk=record.id)
    address = path(request, "change_bulk", bulk=record.id, action=name)
    what = f"{BULK_TITLES[record.action]} of {plural(record.count, 'job')}, {record.left:,} to come"
    match name:
        case "rate":
            return Question(
                heading="Change the rate?",
                what=what,
                address=address,
                back=back,
                button="Change the rate",
                icon="clock",
                rate="" if record.rate is None else f"{record.rate:g}",
            )
        case "abort":
            return Question(
                heading="Abort it?",
                what=what,
                address=address,
                back=back,
                button="Abort",
                icon="x",
                text=f"{plural(record.sent, 'job that was sent stays', 'jobs that were sent stay')} sent. It cannot go on later.",
                has_reason=True,
            )
        case _:
            raise NotThere("There is no such question", f"{name} is nothing to ask about a bulk action.")
