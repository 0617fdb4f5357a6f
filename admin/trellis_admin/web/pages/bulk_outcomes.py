"""What has become of the jobs of a bulk action: its counts, its bar, its chart, and a line for each job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from sqlite3 import Connection
from typing import Final, NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from trellis_nats.jobs.model.states import JobState

from trellis_admin.bulk import STOP_ABOVE, STOP_ENDED_MIN, BulkAction, BulkRecord, BulkState
from trellis_admin.queries import (
    JobPage,
    JobRow,
    Selection,
    Sort,
    count_bulk_ends,
    count_bulk_states,
    list_jobs,
    parse_filter,
    read_status,
    snapshot,
)
from trellis_admin.web import charts
from trellis_admin.web.charts import Share, meter
from trellis_admin.web.links import jobs_link
from trellis_admin.web.pages.jobs import describe_job
from trellis_admin.web.text import clock, duration, plural

__all__ = [
    "EndChart",
    "Tallies",
    "TallyLine",
    "count_tallies",
    "describe_waiting",
    "draw_ends",
    "draw_meter",
    "list_tally",
    "read_outcomes",
    "read_tallies",
    "show_outcome",
    "sum_up",
]

_ROWS: Final = 20
_BARS: Final = 60
_HEIGHT: Final = 56
_OPEN: Final = (JobState.PENDING, JobState.ACTIVE, JobState.RETRY)
_AGAIN: Final = (JobState.DEAD, JobState.FAILED)
_DONE: Final = {BulkAction.CANCEL: "cancelled", BulkAction.DISMISS: "dismissed"}


class Tallies(NamedTuple):
    """How many of the jobs that were sent are where."""

    completed: int
    open: int
    again: int
    """How many died or failed again."""
    ended: int


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
class EndChart:
    """When the jobs ended."""

    step: str
    ceiling: int
    drawing: Markup
    labels: tuple[str, str]


def read_outcomes(db: Connection, bulk_id: str, *, only_again: bool) -> tuple[JobPage, Tallies]:
    """Return the newest jobs that a bulk action sent, or of these the ones that died again, and the counts of all."""
    states = f" state:{','.join(_AGAIN)}" if only_again else ""
    with snapshot(db):
        wanted = parse_filter(f"bulk:{bulk_id}{states}", datetime.now(UTC))
        page = list_jobs(db, Selection(wanted, read_status(db).at), limit=_ROWS, sort=Sort.CHANGED)
        return page, count_tallies(count_bulk_states(db, bulk_id))


def read_tallies(db: Connection, bulk_ids: Sequence[str]) -> dict[str, Tallies]:
    """Return the counts of several bulk actions."""
    with snapshot(db):
        return {bulk_id: count_tallies(count_bulk_states(db, bulk_id)) for bulk_id in bulk_ids}


def count_tallies(states: Mapping[JobState, int]) -> Tallies:
    """Return the counts of jobs by their states as this page names them."""
    open_ones = sum(states.get(state, 0) for state in _OPEN)
    again = sum(states.get(state, 0) for state in _AGAIN)
    return Tallies(states.get(JobState.COMPLETED, 0), open_ones, again, sum(states.values()) - open_ones)


def sum_up(record: BulkRecord, tallies: Tallies) -> str:
    """Return in a few words what has come of a bulk action: `316 completed, 2 dead again`."""
    sent = f"{record.sent:,} of {record.count:,} sent" if record.left else ""
    if record.action.sends:
        counts = (
            (tallies.completed, "completed"),
            (tallies.again, "dead again"),
            (tallies.open, "wait or run"),
        )
    else:
        counts = ((record.sent, _DONE[record.action]), (0, ""), (0, ""))
    refused = ((record.refused, "refused"), (record.changed, "had changed before"))
    parts = [f"{count:,} {word}" for count, word in (*counts, *refused) if count]
    return ": ".join(part for part in (sent, ", ".join(parts)) if part) or "none sent yet"


def list_tally(request: Request, record: BulkRecord, tallies: Tallies) -> list[TallyLine]:
    """Return the counts below the bar."""

    def link(*states: JobState) -> str:
        return jobs_link(request, f"bulk:{record.id} state:{','.join(states)}")

    rest = [TallyLine("s-failed", "s-failed", "refused", record.refused)]
    if record.changed:
        rest.append(TallyLine("s-skipped", "s-skipped", "changed before", record.changed))
    rest.append(TallyLine("s-pending", "s-pending", "to come", record.left))
    if not record.action.sends:
        state = JobState.CANCELLED if record.action is BulkAction.CANCEL else JobState.DISMISSED
        return [TallyLine(f"s-{state}", f"s-{state}", _DONE[record.action], record.sent, link(state)), *rest]
    completed = link(JobState.COMPLETED)
    return [
        TallyLine("s-completed", "s-completed", "completed", tallies.completed, completed),
        TallyLine("s-active", "s-active", "wait or run", tallies.open, link(*_OPEN)),
        TallyLine(
            "s-dead", "s-dead", "dead again", tallies.again, link(*_AGAIN), _describe_share(record, tallies)
        ),
        *rest,
    ]


def _describe_share(record: BulkRecord, tallies: Tallies) -> str:
    """Return the share that counts against the action, and when it stops."""
    ended, again = tallies.ended - record.tolerated.ended, tallies.again - record.tolerated.again
    if record.is_final:
        return f"{100 * tallies.again / tallies.ended:.1f} %" if tallies.ended else ""
    if ended < STOP_ENDED_MIN:
        return f"of {ended} ended" if ended > 0 else ""
    return f"{100 * max(again, 0) / ended:.1f} %, stops at {STOP_ABOVE:.0%}".replace("5%", "5 %")


def draw_meter(record: BulkRecord, tallies: Tallies) -> Markup:
    """Draw the bar."""
    completed = tallies.completed if record.action.sends else record.sent
    again = tallies.again if record.action.sends else 0
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


def draw_ends(db: Connection, record: BulkRecord, now: datetime) -> EndChart | None:
    """Draw when the jobs of a bulk action ended, well below and badly above; None while none has."""
    since = record.began_at or record.created_at
    until = now if record.state is BulkState.RUNNING else None
    found = count_bulk_ends(db, record.id, since=since, until=until, steps=_BARS)
    if found is None:
        return None
    ceiling = charts.nice_ceiling(
        max(well + badly for well, badly in zip(found.well, found.badly, strict=True))
    )
    label = f"Jobs that ended, by {duration(found.step)}: {sum(found.well):,} as wanted, {sum(found.badly):,} dead again"
    drawing = charts.bars(found.badly, found.well, ceiling, _HEIGHT, label, upper_style="bar-ok")
    end = since + found.step * _BARS
    return EndChart(_name_step(found.step), ceiling, drawing, (clock(since), clock(end)))


def _name_step(step: timedelta) -> str:
    return "second" if step == timedelta(seconds=1) else duration(step)


def show_outcome(job: JobRow) -> str:
    """Return what became of a job, what matters most first."""
    note = describe_job(job)
    parts = [note.kind, note.text, note.ran, f"attempt {job.tries}" if job.tries else ""]
    return " · ".join(part for part in parts if part)


def describe_waiting(record: BulkRecord, tallies: Tallies) -> str:
    """Return what an operator who lets a bulk action go on should know."""
    return f"{sum_up(record, tallies)}. {plural(record.left, 'job is', 'jobs are')} sent once an operator lets it go on."
