"""What the first page of the console shows."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from trellis_admin.queries.rows import Attention, Overview

__all__ = ["list_attention", "read_overview"]


def read_overview(db: sqlite3.Connection, window: timedelta, now: datetime) -> Overview:
    """Return the numbers of all queues, now and in a window before, with their histories.

    Args:
        db: a connection of `connect_reader`.
        window: how far back rates and histories go: a minute to a week.
        now: where the window ends.
    """
    raise NotImplementedError


def list_attention(db: sqlite3.Connection, now: datetime) -> list[Attention]:
    """Return what needs an operator, the worst first."""
    raise NotImplementedError
