"""Exact counts for bulk actions, and queues by name."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.codes import STATES, to_milliseconds
from trellis_admin.queries.compiling import ALL, Condition
from trellis_admin.queries.jobs import count_exactly
from trellis_admin.queries.selection import Selection

__all__ = ["QueuePlace", "count_bulk_states", "count_targets", "find_queues"]


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


def count_targets(db: sqlite3.Connection, selection: Selection, *, overdue_at: datetime | None = None) -> int:
    """Return exactly how many jobs `select_targets` returns.

    Args:
        db: a connection of `connect_reader`.
        selection: which jobs.
        overdue_at: count only those whose deadline has passed at this time.
    """
    overdue = ALL if overdue_at is None else Condition("deadline <= ?", (to_milliseconds(overdue_at),))
    return count_exactly(db, selection, overdue)


def count_bulk_states(db: sqlite3.Connection, bulk_id: str) -> Mapping[JobState, int]:
    """Return in which states the jobs are that a bulk action sent, unless a later one changed them too."""
    rows = db.execute("SELECT state, count(*) FROM job WHERE bulk = ? GROUP BY state", (bulk_id,)).fetchall()
    return {STATES[state]: number for state, number in rows}


def find_queues(db: sqlite3.Connection, name: str) -> list[QueuePlace]:
    """Return the queues of a name, of `<service>/<name>`, or with a publish prefix."""
    service, slash, queue = name.partition("/")
    rows = db.execute("SELECT prefix, service, name FROM queue ORDER BY service, name").fetchall()
    places = [QueuePlace(*row) for row in rows]
    if slash:
        return [
            place for place in places if place.name == queue and service in {place.service, place.namespace}
        ]
    return [place for place in places if name in {place.prefix, place.name}]
