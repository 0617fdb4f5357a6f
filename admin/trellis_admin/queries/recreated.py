"""Stale jobs that were created again: the id of the new job follows from the stale one."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import datetime
from typing import Final

from trellis_nats.jobs.model.creation import derive_replacement_id
from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.codes import STATE_CODES, to_milliseconds
from trellis_admin.queries.compiling import Condition
from trellis_admin.queries.jobs import snapshot
from trellis_admin.queries.rows import JobRow

__all__ = ["NOT_RECREATED", "count_recreated", "count_stale", "find_recreated"]

_STALE = STATE_CODES[JobState.STALE]


NOT_RECREATED: Final = Condition(
    # Only a stale job with a child can have been created again, and few have one: the function is called for these.
    "NOT EXISTS (SELECT 1 FROM job AS child WHERE child.parent_id = job.id AND child.queue = job.queue AND child.id = "
    "(SELECT replacement_id(service, name, job.id, job.state_seq) FROM queue WHERE number = job.queue))"
)
"""That a stale job was not created again."""


def find_recreated(db: sqlite3.Connection, job: JobRow) -> str | None:
    """Return the id of the job that was created again instead of a stale one; None where there is none, or it was purged."""
    if job.state is not JobState.STALE:
        return None
    created = derive_replacement_id(job.service, job.queue, job.id, job.state_sequence)
    found = db.execute(
        "SELECT 1 FROM job JOIN queue ON number = queue WHERE id = ? AND prefix = ?", (created, job.prefix)
    ).fetchone()
    return None if found is None else created


def count_recreated(db: sqlite3.Connection, *, since: datetime | None = None) -> Counter[str]:
    """Return how many stale jobs of each publish prefix were created again.

    Args:
        db: a connection of `connect_reader`.
        since: count only those that became stale at this time or later.
    """
    rows = db.execute(
        "SELECT prefix, count(*) FROM queue CROSS JOIN job INDEXED BY job_state "
        "ON job.queue = queue.number AND job.state = ? AND job.state_at >= ? "
        f"WHERE NOT ({NOT_RECREATED.sql}) GROUP BY prefix",
        (_STALE, 0 if since is None else to_milliseconds(since)),
    )
    return Counter(dict(rows))


def count_stale(db: sqlite3.Connection, since: datetime) -> int:
    """Return how many jobs became stale since a time and were not created again."""
    with snapshot(db):
        (stale,) = db.execute(
            "SELECT count(*) FROM queue CROSS JOIN job INDEXED BY job_state "
            "ON job.queue = queue.number AND state = ? AND state_at >= ?",
            (_STALE, to_milliseconds(since)),
        ).fetchone()
        return int(stale) - count_recreated(db, since=since).total()
