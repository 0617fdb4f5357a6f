"""How far the projection has read."""

from __future__ import annotations

import sqlite3

from trellis_admin.projection.codes import from_milliseconds
from trellis_admin.queries.rows import ProjectionStatus

__all__ = ["read_status"]


def read_status(db: sqlite3.Connection) -> ProjectionStatus:
    """Return how far the projection has read. It answers without the server: how far the stream is by now it does not know."""
    sequence, stored_at, last, looked_at, is_complete, malformed, jobs = db.execute(
        "SELECT sequence, stored_at, last_sequence, looked_at, is_complete, malformed, "
        "(SELECT coalesce(sum(jobs), 0) FROM counter) FROM checkpoint"
    ).fetchone()
    return ProjectionStatus(
        at=sequence,
        as_of=from_milliseconds(stored_at) if sequence else None,
        last_sequence=last,
        looked_at=from_milliseconds(looked_at) if looked_at else None,
        is_complete=bool(is_complete),
        jobs=jobs,
        malformed=malformed,
    )
