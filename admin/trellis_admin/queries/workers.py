"""The processes that work queues, by their heartbeats."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Final

from trellis_admin.queries.rows import WorkerRow

__all__ = ["SILENT_AFTER", "list_workers"]

SILENT_AFTER: Final = timedelta(seconds=75)
"""A worker sends a heartbeat every 30 s: it has missed two."""


def list_workers(
    db: sqlite3.Connection, now: datetime, *, silent_after: timedelta = SILENT_AFTER
) -> list[WorkerRow]:
    """Return the processes that sent a heartbeat within a day, those in trouble first.

    A process that reported that it stops is among them until it is silent.

    Args:
        db: a connection of `connect_reader`.
        now: the instant at which silence is judged.
        silent_after: how old the newest heartbeat of a process is when it counts as silent.
    """
    raise NotImplementedError
