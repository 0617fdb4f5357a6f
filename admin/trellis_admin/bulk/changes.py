"""How the record of a bulk action changes: a pure state machine. The store applies it under compare-and-set.

Two kinds of writers change a record: operators, by commands, and the one process that runs it. A process that was replaced by
another one changes nothing any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from trellis_nats import TrellisError
from trellis_nats._support.plural import plural

from trellis_admin.bulk.record import (
    RATE_MAX,
    STOP_ABOVE,
    STOP_ENDED_MIN,
    BulkRecord,
    BulkState,
    Outcomes,
)

__all__ = [
    "BulkProblem",
    "Handled",
    "abort",
    "advance",
    "change_rate",
    "check_pace",
    "check_rate",
    "correct",
    "dies_too_often",
    "go_on",
    "leave",
    "pause",
    "recount",
    "stop",
    "take_over",
]

_WAITS: Final = (BulkState.WAITING, BulkState.PAUSED, BulkState.STOPPED)


class BulkProblem(TrellisError):
    """A bulk action cannot be begun or changed as asked. The text says why; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What became of some selected jobs, in the order of the selection."""

    sent: int = 0
    refused: int = 0
    changed: int = 0
    cursor: int
    """The sequence of the last one's state."""
    counted_to: int
    """The highest sequence of the events that were written."""
    is_last: bool
    """Whether the selection has no more jobs."""


# --- commands of operators -----------------------------------------------------------------------------------------


def pause(record: BulkRecord) -> BulkRecord:
    """Pause it.

    Raises:
        BulkProblem: it does not run.
    """
    if record.state is not BulkState.RUNNING:
        raise BulkProblem(f"bulk action {record.id} cannot be paused: it is {record.state}")
    return replace(record, state=BulkState.PAUSED)


def go_on(record: BulkRecord, outcomes: Outcomes, at: datetime) -> BulkRecord:
    """Let it go on, after it waited, was paused or stopped. What has died until then counts no more against it.

    Raises:
        BulkProblem: it runs or has ended.
    """
    if record.state not in _WAITS:
        raise BulkProblem(f"bulk action {record.id} cannot go on: it is {record.state}")
    is_at_limit = record.limit is not None and record.sent >= record.limit
    return replace(
        record,
        state=BulkState.RUNNING,
        note="",
        limit=None if record.state is not BulkState.PAUSED or is_at_limit else record.limit,
        tolerated=outcomes if record.state is BulkState.STOPPED else record.tolerated,
        confirmed_at=record.confirmed_at or at,
    )


def change_rate(record: BulkRecord, rate: float | None) -> BulkRecord:
    """Change how many jobs it sends a second.

    Raises:
        BulkProblem: it has ended, or the rate is out of range.
    """
    _require_open(record, "its rate cannot be changed")
    return replace(record, rate=check_rate(rate))


def check_rate(rate: float | None) -> float | None:
    """Return a rate that is in range.

    Raises:
        BulkProblem: it is not.
    """
    if rate is not None and not 0 < rate <= RATE_MAX:
        raise BulkProblem(
            f"a rate of {rate:g} jobs a second is not possible: use more than 0 and at most {RATE_MAX:g}"
        )
    return rate


def check_pace(rate: float | None, begin_with: int | None) -> None:
    """Check how fast a bulk action begins, and with how many jobs.

    Raises:
        BulkProblem: a number is out of range.
    """
    check_rate(rate)
    if begin_with is not None and begin_with < 1:
        raise BulkProblem(f"a bulk action begins with at least one job, not {begin_with}")


def abort(record: BulkRecord, note: str, at: datetime) -> BulkRecord:
    """End it: no other job is sent. What was sent stays sent.

    Raises:
        BulkProblem: it has ended.
    """
    _require_open(record, "it cannot be aborted")
    return replace(record, state=BulkState.ABORTED, note=note, ended_at=at, is_settled=False)


# --- the process that runs it --------------------------------------------------------------------------------------


def take_over(record: BulkRecord, runner: str, at: datetime) -> BulkRecord:
    """Make a process the one that runs it. It counts as a restart if another one had not left in order."""
    if record.is_settled:
        return record
    return replace(
        record,
        runner=runner,
        restarts=record.restarts + (record.runner not in {"", runner}),
        began_at=record.began_at or at,
    )


def recount(record: BulkRecord, runner: str, *, found: int, counted_to: int) -> BulkRecord:
    """Add events that were written by a process that died before it counted them."""
    if record.runner != runner or counted_to < record.counted_to:
        return record
    return _wait_at_limit(replace(record, sent=record.sent + found, counted_to=counted_to))


def advance(record: BulkRecord, runner: str, handled: Handled, at: datetime) -> BulkRecord:
    """Count jobs that were handled. It is done after the last one, and waits after as many as it begins with.

    What was handled counts in every state: a command may have come in between.
    """
    if record.runner != runner:
        return record
    sent, refused = record.sent + handled.sent, record.refused + handled.refused
    counted = replace(
        record,
        sent=sent,
        refused=refused,
        changed=record.changed + handled.changed,
        cursor=max(record.cursor, handled.cursor),
        counted_to=max(record.counted_to, handled.counted_to),
    )
    if record.is_final:
        return counted
    if handled.is_last:
        return replace(counted, state=BulkState.DONE, ended_at=at)
    return _wait_at_limit(counted)


def stop(record: BulkRecord, runner: str, note: str) -> BulkRecord:
    """Stop it, for an operator to look at. Nothing changes unless it runs."""
    if record.runner != runner or record.state is not BulkState.RUNNING:
        return record
    return replace(record, state=BulkState.STOPPED, note=note)


def leave(record: BulkRecord, runner: str, *, total: int | None) -> BulkRecord:
    """Release it: no process runs it. After its end its counts are final.

    Args:
        record: the record.
        runner: the process that leaves.
        total: how many of its events the stream has, where more than one process ran it; else None.
    """
    if record.runner != runner:
        return record
    left = replace(record, runner="")
    if not record.is_final:
        return left
    sent = record.sent if total is None else total
    # Jobs that changed while no process ran are not in the selection any more: they are what is missing in the sum.
    changed = record.count - sent - record.refused if record.state is BulkState.DONE else record.changed
    return replace(left, sent=sent, changed=max(0, changed), is_settled=True)


def correct(record: BulkRecord, *, total: int) -> BulkRecord:
    """Count what a process that was frozen sent after another one had counted for the last time."""
    return replace(record, sent=total) if record.is_settled and total > record.sent else record


def dies_too_often(record: BulkRecord, outcomes: Outcomes) -> str | None:
    """Return why it has to stop: more than 5 % of at least 20 jobs that ended died again. None: it has not."""
    ended = outcomes.ended - record.tolerated.ended
    again = outcomes.again - record.tolerated.again
    if not record.action.sends or ended < STOP_ENDED_MIN or again <= STOP_ABOVE * ended:
        return None
    return (
        f"{again:,} of the {plural(ended, 'job')} that ended died again, which is more than {STOP_ABOVE:.0%}"
    )


def _wait_at_limit(record: BulkRecord) -> BulkRecord:
    is_at_limit = record.limit is not None and record.sent >= record.limit
    return (
        replace(record, state=BulkState.WAITING)
        if is_at_limit and record.state is BulkState.RUNNING
        else record
    )


def _require_open(record: BulkRecord, what: str) -> None:
    if record.is_final:
        raise BulkProblem(f"bulk action {record.id} is {record.state}: {what}")
