"""Queues, now and in a window before."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from trellis_admin.queries.rows import QueueRow

__all__ = ["list_queues"]


def list_queues(
    db: sqlite3.Connection, window: timedelta, now: datetime, *, prefix: str | None = None
) -> list[QueueRow]:
    """Return every queue that has had a job, or has a worker; those with the most waiting jobs first.

    Args:
        db: a connection of `connect_reader`.
        window: how far back rates and histories go: a minute to a week.
        now: where the window ends.
        prefix: the publish prefix of a queue; None for all.
    """
    raise NotImplementedError
