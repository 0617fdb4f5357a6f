"""Bulk actions: all of them, and one with its outcome job by job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from trellis_nats.errors import TransportError
from trellis_nats.jobs.model.states import JobState

from trellis_admin.bulk import BulkAction, BulkNotFound, BulkProblem, BulkRecord, BulkState
from trellis_admin.web.console import Console
from trellis_admin.web.frame import redirect, show
from trellis_admin.web.links import jobs_link, path
from trellis_admin.web.notices import Notice
from trellis_admin.web.pages.bulk_outcomes import (
    Tallies,
    describe_waiting,
    draw_ends,
    draw_meter,
    list_tally,
    read_outcomes,
    read_tallies,
    show_outcome,
    sum_up,
)
from trellis_admin.web.problems import NotThere
from trellis_admin.web.protection import Form
from trellis_admin.web.questions import Question
from trellis_admin.web.text import duration, plural, typed_number

__all__ = ["BULK_LOOKS", "BULK_TITLES", "ask_bulk", "change_bulk", "list_recent", "show_bulk", "show_bulks"]

_ROWS: Final = 50
_REFUSALS: Final = 100
_OTHERS: Final = 5
"""How many other bulk actions the page of one shows."""
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
    BulkAction.RECREATE: "Re-creation",
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
class Banner:
    """What the action waits for, or why it stopped."""

    kind: str
    icon: str
    heading: str
    text: str


async def list_recent(request: Request, *, limit: int) -> list[tuple[BulkRecord, str]]:
    """Return the newest bulk actions on dead jobs, with what has come of each; none while no server answers."""
    console: Console = request.state.console
    if not console.connection.is_connected:
        return []
    try:
        newest = await console.operator(request.state.identity).bulk.list_newest(
            {BulkAction.REPLAY, BulkAction.DISMISS}, limit=limit
        )
    except TransportError:  # the page is worth more than this part of it
        return []
    tallies = await console.query(read_tallies, [record.id for record in newest])
    return [(record, sum_up(record, tallies[record.id])) for record in newest]


async def show_bulks(request: Request) -> Response:
    """Show a page of the bulk actions, the newest first."""
    console: Console = request.state.console
    page = await console.operator(request.state.identity).bulk.list_page(
        before=request.query_params.get("before"), limit=_ROWS
    )
    values = {
        "page": page,
        "older_address": f"{request.url.path}?before={page.next}" if page.next else "",
        "looks": BULK_LOOKS,
        "titles": BULK_TITLES,
    }
    return await show(request, "bulks.html", "bulk", values)


async def show_bulk(request: Request) -> Response:
    """Show one bulk action."""
    console: Console = request.state.console
    bulk = console.operator(request.state.identity).bulk
    record = await _read_record(request)
    tab = request.query_params.get("o", "all")
    page, tallies = await console.query(read_outcomes, record.id, only_again=tab == "again")
    refusals = await bulk.refusals(record.id) if tab == "refused" and record.refused else {}
    values = {
        "record": record,
        "title": f"{BULK_TITLES[record.action]} of {plural(record.count, 'job')}",
        "looks": BULK_LOOKS,
        "actions": offer_buttons(record) if request.state.identity.may_operate else [],
        "note": _describe_state(record, tallies),
        "handled": record.count - record.left,
        "pace": _describe_pace(record),
        "meter": draw_meter(record, tallies),
        "tally": list_tally(request, record, tallies),
        "chart": await console.query(draw_ends, record, datetime.now(UTC)),
        "tabs": _link_tabs(request, record, tallies, tab),
        "tab": tab,
        "rows": page.rows,
        "total": page.total,
        "words": _AGAIN.get(record.action, {}),
        "notes": show_outcome,
        "all_jobs": jobs_link(request, f"bulk:{record.id}"),
        "filter_address": jobs_link(request, record.filter),
        "refusals": [(job.rpartition(".")[2], why) for job, why in list(refusals.items())[:_REFUSALS]],
        "others": [other for other in console.bulk_actions if other.id != record.id][:_OTHERS],
        "titles": BULK_TITLES,
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
                record = await bulk.go_on(bulk_id, reason=reason)
                unknown = console.operator(request.state.identity).bulk.find_unknown(record)
                elsewhere = f" in a process that knows contract {' and '.join(unknown)}; the console does not"
                heading = "It goes on" + (elsewhere if unknown else "")
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


def _link_tabs(
    request: Request, record: BulkRecord, tallies: Tallies, tab: str
) -> list[tuple[str, str, bool]]:
    tabs = [("All", "all"), (f"Refused {record.refused:,}", "refused")]
    if record.action.sends:
        tabs.insert(1, (f"Dead again {tallies.again:,}", "again"))
    return [(word, f"{request.url.path}?o={name}#o", tab == name) for word, name in tabs]


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


def _describe_pace(record: BulkRecord) -> str:
    if record.is_final:
        ended = record.ended_at or record.created_at
        return f"ended after {duration(ended - (record.began_at or record.created_at))}"
    if record.state in _WAITS:
        return "nothing is sent now"
    if record.rate is None:
        return "as fast as possible"
    left = timedelta(seconds=record.left / record.rate)
    return f"{record.rate:g} a second · about {duration(left)} left"


def _describe_state(record: BulkRecord, tallies: Tallies) -> Banner | None:
    match record.state:
        case BulkState.WAITING:
            text = describe_waiting(record, tallies)
            return Banner(
                "info", "s-pending", f"It began with {plural(record.sent, 'job')}, and waits for you", text
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
                heading=f"Abort this {BULK_TITLES[record.action].lower()}?",
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
