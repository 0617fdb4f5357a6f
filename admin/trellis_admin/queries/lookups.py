"""Exact counts for bulk actions, and queues by name."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.codes import STATE_CODES, STATES, to_milliseconds
from trellis_admin.queries.compiling import ALL, Condition, join
from trellis_admin.queries.jobs import count_exactly
from trellis_admin.queries.selection import Selection

__all__ = [
    "BulkEnds",
    "QueuePlace",
    "count_bulk_ends",
    "count_bulk_states",
    "count_targets",
    "find_queues",
    "list_queue_places",
]


class QueuePlace(NamedTuple):
    """A queue and where its events are."""

    prefix: str
    """Its publish prefix."""
    service: str
    """As its events name it."""
    name: str

    @property
    def namespace(self) -> str:
        """The token of the service in subjects and in the names of its buckets."""
        return self.prefix.split(".")[-2]


class BulkEnds(NamedTuple):
    """When the jobs of a bulk action ended."""

    step: timedelta
    well: tuple[int, ...]
    """How many completed, or were cancelled or dismissed, in each step."""
    badly: tuple[int, ...]
    """How many died or failed in each step."""


def count_targets(
    db: sqlite3.Connection,
    selection: Selection,
    *,
    overdue_at: datetime | None = None,
    condition: Condition = ALL,
) -> int:
    """Return exactly how many jobs `select_targets` returns.

    Args:
        db: a connection of `connect_reader`.
        selection: which jobs.
        overdue_at: count only those whose deadline has passed at this time.
        condition: one more that they fulfil.
    """
    if overdue_at is not None:
        condition = join([condition, Condition("deadline <= ?", (to_milliseconds(overdue_at),))])
    return count_exactly(db, selection, condition)


def count_bulk_states(db: sqlite3.Connection, bulk_id: str) -> Mapping[JobState, int]:
    """Return in which states the jobs are that a bulk action sent, unless a later one changed them too."""
    rows = db.execute("SELECT state, count(*) FROM job WHERE bulk = ? GROUP BY state", (bulk_id,)).fetchall()
    return {STATES[state]: number for state, number in rows}


def count_bulk_ends(
    db: sqlite3.Connection, bulk_id: str, *, since: datetime, until: datetime | None, steps: int
) -> BulkEnds | None:
    """Return how many jobs that a bulk action sent ended in each step of equal length; None while none has ended.

    Args:
        db: a connection of `connect_reader`.
        bulk_id: the id of the bulk action.
        since: when the first step begins.
        until: what the last step has at least to reach; None for when the last job ended.
        steps: how many steps there are. A step has whole seconds.
    """
    first = to_milliseconds(since)
    where = "FROM job WHERE bulk = ? AND state >= 3 AND state_at >= ?"
    last = db.execute(f"SELECT max(state_at) {where}", (bulk_id, first)).fetchone()[0]
    if last is None:
        return None
    end = max(last, 0 if until is None else to_milliseconds(until))
    step = (end - first) // (1000 * steps) + 1
    again = (STATE_CODES[JobState.FAILED], STATE_CODES[JobState.DEAD])
    rows = db.execute(
        f"SELECT (state_at - ?) / ?, state IN (?, ?), count(*) {where} GROUP BY 1, 2",
        (first, 1000 * step, *again, bulk_id, first),
    )
    well, badly = [0] * steps, [0] * steps
    for index, is_again, number in rows:
        (badly if is_again else well)[index] = number
    return BulkEnds(timedelta(seconds=step), tuple(well), tuple(badly))


def list_queue_places(db: sqlite3.Connection) -> list[QueuePlace]:
    """Return every queue that has had a job or a worker."""
    rows = db.execute("SELECT prefix, service, name FROM queue ORDER BY service, name").fetchall()
    return [QueuePlace(*row) for row in rows]


def find_queues(db: sqlite3.Connection, name: str) -> list[QueuePlace]:
    """Return the queues of a name, of `<service>/<name>`, or with a publish prefix."""
    service, slash, queue = name.partition("/")
    places = list_queue_places(db)
    if slash:
        return [
            place for place in places if place.name == queue and service in {place.service, place.namespace}
        ]
    return [place for place in places if name in {place.prefix, place.name}]
