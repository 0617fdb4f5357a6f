"""The list of jobs: a filter, chips, a selection, and files of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from sqlite3 import Connection
from typing import Final

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import Response
from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.fingerprint import message_of
from trellis_admin.queries import (
    Count,
    FilterProblem,
    JobFilter,
    JobPage,
    JobRow,
    Selection,
    Word,
    count_jobs,
    count_states,
    list_jobs,
    parse_filter,
    read_status,
)
from trellis_admin.web.actions import offer_actions
from trellis_admin.web.console import Console
from trellis_admin.web.exports import save_jobs
from trellis_admin.web.frame import show
from trellis_admin.web.links import jobs_link
from trellis_admin.web.text import duration, plural

__all__ = ["read_sequence", "show_jobs"]

_STATES: Final = (
    JobState.PENDING,
    JobState.ACTIVE,
    JobState.RETRY,
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.DEAD,
    JobState.CANCELLED,
    JobState.EXPIRED,
    JobState.STALE,
    JobState.SKIPPED,
    JobState.DISMISSED,
)
"""In the order of the chips."""
_ROWS: Final = 50
_SEQUENCE: Final = re.compile("[0-9]{1,18}")
_COSTS_MAX: Final = 4
"""How many parts of a filter without matches are explained."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A state, how many jobs of the rest of the filter are in it, and the address that adds it or takes it away."""

    state: JobState
    count: Count
    is_on: bool
    address: str


@dataclass(frozen=True, slots=True)
class Drop:
    """What a part of a filter costs."""

    text: str
    count: str
    helps: bool
    address: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a row says about its job in addition to its state."""

    kind: str = ""
    text: str = ""
    next: datetime | None = None
    ran: str = ""


def read_sequence(given: str | None) -> int | None:
    """Return a sequence of an address; None where it is missing or is not a number."""
    return int(given) if given is not None and _SEQUENCE.fullmatch(given) else None


async def show_jobs(request: Request) -> Response:
    """Show the jobs that match a filter, or save them."""
    console: Console = request.state.console
    text = " ".join(request.query_params.get("q", "").split())
    if state := request.query_params.get("state"):
        text = f"{text} state:{state}".strip()
    try:
        wanted = parse_filter(text, datetime.now(UTC))
        console.check_filter(request.state.identity, wanted)
    except FilterProblem as problem:
        return await show(request, "jobs.html", "jobs", {"text": text, "problem": str(problem)}, status=400)
    at = read_sequence(request.query_params.get("at"))
    if at is None:
        at = (await console.query(read_status)).at
    selection = Selection(wanted, at)
    if kind := request.query_params.get("format"):
        return save_jobs(console, selection, kind)
    before = read_sequence(request.query_params.get("before"))
    page, states = await console.query(_read_page, selection, before)
    values = (
        _describe_list(request, text, page)
        | _describe_selection(request, page)
        | {
            "problem": None,
            "chips": _list_chips(request, wanted, states),
            "notes": describe_job,
            "costs": [] if page.rows else await console.query(_list_costs, request, selection),
            "shows_queue": len(wanted.values(Word.QUEUE)) != 1,
            "actions": offer_actions(state for state in wanted.states if states[state].number),
        }
    )
    return await show(request, "jobs.html", "jobs", values)


def _read_page(
    db: Connection, selection: Selection, before: int | None
) -> tuple[JobPage, Mapping[JobState, Count]]:
    return list_jobs(db, selection, before=before, limit=_ROWS), count_states(db, selection)


def _describe_list(request: Request, text: str, page: JobPage) -> dict[str, object]:
    total, here = page.total, request.url
    more = "" if total.is_exact else "More than "
    address = here.include_query_params(at=page.at).remove_query_params(["select"])
    return {
        "text": text,
        "page": page,
        "heading": f"{more}{total.number:,} {'jobs match' if text else 'jobs'}"
        if total.number != 1
        else "1 job",
        "range": f"{len(page.rows):,} of {more.lower()}{total.number:,}",
        "newest_address": _address(here.remove_query_params(["at", "before", "select"])),
        "first_address": _address(address.remove_query_params(["before"]))
        if "before" in request.query_params
        else "",
        "older_address": _address(address.include_query_params(before=page.next))
        if page.next is not None
        else "",
        "save_address": address.remove_query_params(["before"]),
    }


def _describe_selection(request: Request, page: JobPage) -> dict[str, object]:
    select = request.query_params.get("select", "")
    pinned = request.url.include_query_params(at=page.at)
    return {
        "select": select,
        "is_all_selected": select == "all",
        "is_selected": select in {"all", "page"},
        "all_address": _address(pinned.include_query_params(select="all")),
        "page_address": _address(pinned.include_query_params(select="page")),
        "none_address": _address(pinned.remove_query_params(["select"])),
    }


def describe_job(job: JobRow) -> Note:
    """Return the newest error of a job or what it reports, and the time that matters in its state."""
    match job.state:
        case JobState.PENDING:
            return Note(next=job.next_at)
        case JobState.ACTIVE:
            step = "" if job.progress is None else job.progress.message or job.progress.step or ""
            since = None if job.started_at is None else datetime.now(UTC) - job.started_at
            return Note(text=step, ran="" if since is None else f"runs {duration(since)}")
        case JobState.RETRY:
            return Note(job.error_type or "", message_of(job.error_type, job.error or ""), next=job.next_at)
        case JobState.COMPLETED:
            return Note(ran=_ran(job))
        case _:
            return Note(job.error_type or "", message_of(job.error_type, job.error or ""), ran=_ran(job))


def _ran(job: JobRow) -> str:
    if job.started_at is None or job.ended_at is None or job.ended_at < job.started_at:
        return ""
    return f"ran {duration(max(job.ended_at - job.started_at, timedelta(0)))}"


def _list_chips(request: Request, wanted: JobFilter, counts: Mapping[JobState, Count]) -> list[Chip]:
    chosen = wanted.states if wanted.values(Word.STATE) else frozenset[JobState]()
    rest = wanted.without(Word.STATE)
    chips: list[Chip] = []
    for state in _STATES:
        kept = [other for other in _STATES if (other in chosen) != (other is state)]
        edited = rest.with_term(Word.STATE, *kept) if kept else rest
        chips.append(Chip(state, counts[state], state in chosen, jobs_link(request, edited.text)))
    return chips


def _list_costs(db: Connection, request: Request, selection: Selection) -> list[Drop]:
    """Return how many jobs a filter without matches would have without each of its parts."""
    terms = selection.filter.terms
    drops: list[Drop] = []
    for term in terms[:_COSTS_MAX] if len(terms) > 1 else ():
        rest = JobFilter(tuple(other for other in terms if other is not term))
        count = count_jobs(db, Selection(rest, selection.at))
        words = "none" if not count.number else plural(count.number, "job")
        shown = words if count.is_exact else f"more than {words}"
        drops.append(Drop(term.text, shown, count.number > 0, jobs_link(request, rest.text)))
    return drops


def _address(url: URL) -> str:
    return f"{url.path}?{url.query}" if url.query else url.path
