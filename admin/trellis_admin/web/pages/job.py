"""One job: its timeline, attempts with errors and logs, payload, lineage and events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response
from trellis_nats.errors import JobNotFound, TransportError
from trellis_nats.jobs.model.event import JobProgress
from trellis_nats.jobs.model.states import JobState

from trellis_admin.payloads import RevealedValue
from trellis_admin.projection.fingerprint import message_of
from trellis_admin.queries import (
    Attempt,
    AttemptEnd,
    Family,
    FamilyMember,
    HistoryEvent,
    JobHistory,
    JobRow,
    LogLine,
    find_jobs,
    find_recreated,
    find_silence,
    list_error_groups,
    read_family,
)
from trellis_admin.samples.redaction import is_replaced
from trellis_admin.texts.waiting import explain_wait
from trellis_admin.web.actions import CANCEL, DISMISS, EDIT, RECREATE, REPLAY, RETRY, JobAction
from trellis_admin.web.console import Console
from trellis_admin.web.frame import show
from trellis_admin.web.json_text import print_json
from trellis_admin.web.links import dead_group, jobs_link, path
from trellis_admin.web.problems import NotThere
from trellis_admin.web.protection import Form
from trellis_admin.web.text import clock, duration, plural
from trellis_admin.web.timeline import END_LOOKS, Lane, describe_run, draw_timeline

__all__ = ["find_job", "reveal_payload", "show_job", "show_stack"]

_EVENTS: Final = 20
_LOGS_MAX: Final = 200
_TITLES: Final = {
    JobState.ACTIVE: "Active, attempt {tries} of {max_tries}",
    JobState.RETRY: "Retry, after attempt {tries} of {max_tries}",
    JobState.DEAD: "Dead after {tries} attempts",
}
_ENDED: Final = {JobState.DEAD: "died", JobState.COMPLETED: "completed", JobState.FAILED: "failed"}
_ACTIONS: Final = {
    JobState.PENDING: (CANCEL,),
    JobState.ACTIVE: (CANCEL,),
    JobState.RETRY: (CANCEL,),
    JobState.FAILED: (RETRY,),
    JobState.DEAD: (DISMISS, EDIT, REPLAY),
    JobState.STALE: (RECREATE,),
}


@dataclass(frozen=True, slots=True)
class SameError:
    """Dead jobs with the error of an attempt."""

    fingerprint: str
    jobs: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAttempt:
    """An attempt as the page shows it."""

    name: str
    icon: str
    style: str
    state: str
    worker: str | None
    outcome: str
    started_at: datetime
    ended_at: datetime | None
    progress: JobProgress | None
    percent: int
    error: str | None
    error_type: str | None
    stack: str | None
    logs: tuple[LogLine, ...]
    logs_left_out: int
    note: str
    same_as: SameError | None

    @property
    def has_body(self) -> bool:
        """Whether there is more than a title."""
        has_progress = self.progress is not None and self.ended_at is None
        return has_progress or self.error is not None or bool(self.stack or self.logs or self.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """What the page shows in addition to the history."""

    title: str
    ended_word: str
    actions: tuple[JobAction, ...]
    recreated: str | None
    may_ask_stack: bool
    axis: Markup
    lanes: tuple[Lane, ...]
    left_out: str
    has_failed: bool
    has_released: bool
    has_lost: bool
    attempts: list[ShownAttempt]
    worker: str | None
    released: int
    waited: timedelta
    ran: timedelta
    trigger: str
    trace_address: str
    trace_jobs: str
    family: Family | None
    family_size: int
    events: list[HistoryEvent]
    more_events: str


@dataclass(frozen=True, slots=True)
class Revealed:
    """What an operator asked to see."""

    payload: Markup
    result: Markup | None
    checkpoint: Markup | None
    note: str


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the handler of a running job is."""

    text: str
    note: str


async def show_job(request: Request) -> Response:
    """Show a job."""
    return await _show(request, await find_job(request))


async def reveal_payload(request: Request, form: Form) -> Response:
    """Show a job with its payload, once the audit log says who looks.

    The answer is the page itself: a page that a redirect leads to would have to remember that it may show the payload.
    """
    console: Console = request.state.console
    job = await find_job(request, form.one("prefix"))
    operator = console.operator(request.state.identity)
    revealed = await operator.reveal(job)
    history = await operator.history(job)
    newest = None if history.checkpoint is None else revealed.checkpoints.get(history.checkpoint.sequence)
    shown = Revealed(
        _print(revealed.payload),
        None if revealed.result is None else _print(revealed.result),
        None if newest is None else _print(newest),
        _describe_hidden([revealed.payload, revealed.result, newest], is_checked=revealed.is_checked),
    )
    return await _show(request, job, revealed=shown)


async def show_stack(request: Request) -> Response:
    """Show a job with what its handler does at this moment, as its worker says."""
    console: Console = request.state.console
    job = await find_job(request)
    found = await console.operator(request.state.identity).stack(job)
    if found is None:
        return await _show(request, job, stack=Stack("No process answered that it runs the job.", ""))
    lines = [f'File "{frame.file}", line {frame.line}, in {frame.function}' for frame in found.frames]
    note = f"attempt {found.attempt} on {found.instance_id}, at {clock(found.at)}; event loop late by {duration(found.loop_lag)}"
    return await _show(request, job, stack=Stack("\n".join(lines), note))


async def find_job(request: Request, prefix: str | None = None) -> JobRow:
    """Return the job that an address names; of several, the one of a queue, or the newest.

    Raises:
        NotThere: there is none.
    """
    console: Console = request.state.console
    job_id = request.path_params["job"]
    prefix = prefix or request.query_params.get("prefix")
    rows = [row for row in await console.query(find_jobs, job_id) if row.id == job_id]
    chosen = [row for row in rows if prefix is None or row.prefix == prefix]
    if not chosen:
        raise _missing(request, job_id)
    return max(chosen, key=lambda row: row.created_sequence)


def _missing(request: Request, job_id: str) -> NotThere:
    return NotThere(
        f"There is no job {job_id:.100}",
        "Either the id is not complete, or the job ended and its history has been removed.",
        ("Look in the audit log", f"{path(request, 'audit')}?q={job_id:.100}"),
        ("Search for it", jobs_link(request, job_id[:100])),
    )


async def _show(
    request: Request, row: JobRow, *, revealed: Revealed | None = None, stack: Stack | None = None
) -> Response:
    console: Console = request.state.console
    operator = console.operator(request.state.identity)
    try:
        job = await operator.history(row)
    except JobNotFound:
        raise _missing(request, row.id) from None
    try:
        wait = await explain_wait(operator, row, datetime.now(UTC))
    except TransportError:  # the page is worth more than this line of it
        wait = None
    family = await console.query(read_family, row)
    recreated = await console.query(find_recreated, row)
    silent_since = await console.query(find_silence, row, datetime.now(UTC))
    same = await _find_same(request, row)
    values = {
        "job": job,
        "view": _make_view(request, job, row, family, same, recreated),
        "payload_size": job.payload_size,
        "silent_since": silent_since,
        "wait": wait,
        "revealed": revealed,
        "stack": stack,
    }
    return await show(request, "job.html", "jobs", values, here=job.queue, is_secret=revealed is not None)


async def _find_same(request: Request, row: JobRow) -> SameError | None:
    console: Console = request.state.console
    if row.fingerprint is None:
        return None
    groups = await console.query(
        list_error_groups,
        datetime.now(UTC),
        queue=row.queue,
        service=row.service,
        fingerprint=row.fingerprint,
    )
    if not groups:
        return None
    return SameError(row.fingerprint, groups[0].jobs, dead_group(request, row.fingerprint))


def _print(value: RevealedValue) -> Markup:
    return print_json(value.text, lambda place: is_replaced(place, value.hidden))


def _describe_hidden(values: Sequence[RevealedValue | None], *, is_checked: bool) -> str:
    if not is_checked:
        return "No contract says which fields are secret, so none is hidden."
    hidden = sum(len(value.hidden) for value in values if value is not None)
    return (
        f"{plural(hidden, 'field stays', 'fields stay')} hidden: the contract calls them secret, or does not declare them."
        if hidden
        else ""
    )


def _make_view(
    request: Request,
    job: JobHistory,
    row: JobRow,
    family: Family,
    same: SameError | None,
    recreated: str | None,
) -> JobView:
    now = datetime.now(UTC)
    timeline = draw_timeline(job, now)
    ends = [attempt.end for attempt in job.attempts]
    may = request.state.identity.may_operate
    ran = [(attempt.ended_at or now) - attempt.started_at for attempt in job.attempts]
    shows_all = "events" in request.query_params
    trace = request.state.console.settings.trace_address
    return JobView(
        title=_TITLES.get(job.state, job.state.capitalize()).format(tries=job.tries, max_tries=job.max_tries),
        ended_word=_ENDED.get(job.state, str(job.state)),
        actions=tuple(_offer(request, job)) if may and recreated is None else (),
        recreated=recreated,
        may_ask_stack=may and job.state is JobState.ACTIVE,
        axis=timeline.axis,
        lanes=timeline.lanes,
        left_out=f"The first {timeline.left_out} attempts are not drawn." if timeline.left_out else "",
        has_failed=any(end in ends for end in (AttemptEnd.FAILED, AttemptEnd.RETRY, AttemptEnd.DEAD)),
        has_released=AttemptEnd.RELEASED in ends,
        has_lost=AttemptEnd.LOST in ends,
        attempts=[
            _show_attempt(attempt, now, same if attempt is job.attempts[-1] else None)
            for attempt in job.attempts[::-1]
        ],
        worker=row.worker,
        released=ends.count(AttemptEnd.RELEASED),
        waited=sum(((wait.until or now) - wait.since for wait in job.waits), timedelta(0)),
        ran=sum(ran, timedelta(0)),
        trigger=_describe_trigger(job.trigger),
        trace_address=trace.replace("{trace_id}", job.trace_id) if trace else "",
        trace_jobs=jobs_link(request, f"trace:{job.trace_id}"),
        family=family,
        family_size=sum(_count(member) for member in family.roots),
        events=list(job.events[::-1] if shows_all else job.events[: -_EVENTS - 1 : -1]),
        more_events=f"{request.url.path}?events=all#events"
        if len(job.events) > _EVENTS and not shows_all
        else "",
    )


def _offer(request: Request, job: JobHistory) -> Iterator[JobAction]:
    """Yield what can be done with a job. What creates a new job needs its contract, so the console must know that."""
    console: Console = request.state.console
    for action in _ACTIONS.get(job.state, ()):
        if action not in (EDIT, RECREATE) or console.find_contract(job.prefix) is not None:
            yield action


def _show_attempt(attempt: Attempt, now: datetime, same: SameError | None) -> ShownAttempt:
    icon, style, state, word = END_LOOKS[attempt.end]
    ran = describe_run(attempt, now)
    suffix = "" if attempt.end in {AttemptEnd.RUNNING, AttemptEnd.FAILED, AttemptEnd.RETRY} else f", {word}"
    is_error = attempt.error is not None and attempt.end in {
        AttemptEnd.FAILED,
        AttemptEnd.RETRY,
        AttemptEnd.DEAD,
    }
    return ShownAttempt(
        name=f"Attempt {attempt.number}{suffix}",
        icon=icon,
        style=style,
        state=state,
        worker=attempt.worker,
        outcome=f"{ran} · {attempt.error_type}" if is_error and attempt.error_type else ran,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        progress=attempt.progress,
        percent=_percent(attempt.progress),
        error=message_of(attempt.error_type, attempt.error or "") if is_error else None,
        error_type=attempt.error_type,
        stack=attempt.stack,
        logs=attempt.logs[-_LOGS_MAX:],
        logs_left_out=max(0, len(attempt.logs) - _LOGS_MAX),
        note=_note(attempt),
        same_as=same if is_error else None,
    )


def _percent(progress: JobProgress | None) -> int:
    if progress is None or not progress.total:
        return 0
    try:
        return min(100, max(0, int(100 * ((progress.current or 0) / progress.total))))
    except (OverflowError, ValueError):  # other runtimes report integers of any size, and infinities
        return 0


def _note(attempt: Attempt) -> str:
    waited = f"Waited {duration(attempt.waited)} before it. " if attempt.waited > timedelta(seconds=1) else ""
    match attempt.end:
        case AttemptEnd.LOST:
            return f"{waited}The worker stopped answering. The attempt counts."
        case AttemptEnd.RELEASED:
            return f"{waited}Given back by a stopping worker. The attempt does not count."
        case _ if attempt.next_at is not None and attempt.ended_at is not None:
            return (
                f"{waited}Next attempt {duration(attempt.next_at - attempt.ended_at)} later at the earliest."
            )
        case _:
            return waited.strip()


def _describe_trigger(trigger: JsonValue) -> str:
    if isinstance(trigger, dict):
        kind = trigger.get("kind")
        return str(kind) if isinstance(kind, str) else ""
    return trigger if isinstance(trigger, str) else ""


def _count(member: FamilyMember) -> int:
    return 1 + sum(_count(child) for child in member.children)
