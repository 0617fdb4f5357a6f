"""Groups jobs by their errors."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, Final

from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.codes import STATE_CODES, from_milliseconds, to_milliseconds
from trellis_admin.queries.filters import JobFilter
from trellis_admin.queries.jobs import snapshot
from trellis_admin.queries.matching import match_rows
from trellis_admin.queries.rows import ErrorGroup

__all__ = ["list_error_groups"]

_HOUR: Final = 3_600_000
_HOURS: Final = 24


def list_error_groups(
    db: sqlite3.Connection,
    now: datetime,
    *,
    states: frozenset[JobState] = frozenset({JobState.DEAD}),
    queue: str | None = None,
    service: str | None = None,
    fingerprint: str | None = None,
    at: int | None = None,
    wanted: JobFilter | None = None,
) -> list[ErrorGroup]:
    """Return the groups of jobs with alike errors, the largest first.

    Args:
        db: a connection of `connect_reader`.
        now: where the last of the 24 hours ends.
        states: jobs in these states.
        queue: only this queue; None for all.
        service: only this service; None for all.
        fingerprint: only this group; None for all.
        at: only jobs whose state has not changed after this sequence; None for all.
        wanted: only jobs that match a filter; None for all.
    """
    codes = ", ".join(str(STATE_CODES[state]) for state in sorted(states))
    where, values = [f"state IN ({codes})", "job.fingerprint IS NOT NULL"], list[str | int | bytes]()
    for condition, value in (
        ("name = ?", queue),
        ("service = ?", service),
        ("job.fingerprint = ?", None if fingerprint is None else int(fingerprint, 16)),
        ("state_seq <= ?", at),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    if wanted is not None:
        matching = match_rows(db, wanted)
        where.append(f"created_seq IN (SELECT created_seq FROM job WHERE {matching.sql})")
        values.extend(matching.values)
    source = (
        "FROM job JOIN queue ON queue.number = job.queue LEFT JOIN pattern ON pattern.fingerprint = job.fingerprint "
        f"WHERE {' AND '.join(where)}"
    )
    end = to_milliseconds(now)
    start = end - _HOURS * _HOUR
    with snapshot(db):
        groups = db.execute(
            "SELECT job.fingerprint, job.queue, pattern.error_type, pattern.text, service, name, prefix, count(*), "
            f"min(ended_at), max(ended_at) {source} GROUP BY job.fingerprint, job.queue ORDER BY 8 DESC, 1",
            values,
        ).fetchall()
        hours = db.execute(
            f"SELECT job.fingerprint, job.queue, (ended_at - ?) / {_HOUR}, count(*) {source} AND ended_at >= ? "
            "AND ended_at < ? GROUP BY 1, 2, 3",
            (start, *values, start, end),
        ).fetchall()
    per_hour: dict[tuple[int, int], list[int]] = {}
    for number, queue_number, hour, jobs in hours:
        per_hour.setdefault((number, queue_number), [0] * _HOURS)[hour] += jobs
    return [_read_group(row, per_hour.get(row[:2])) for row in groups]


def _read_group(row: tuple[Any, ...], per_hour: list[int] | None) -> ErrorGroup:
    """Return a group. Any: SQLite gives rows without types."""
    number, _, error_type, pattern, service, queue, prefix, jobs, first, last = row
    return ErrorGroup(
        fingerprint=f"{int(number):08x}",
        error_type=error_type,
        pattern=pattern or "",
        service=service,
        queue=queue,
        prefix=prefix,
        jobs=jobs,
        first_seen=from_milliseconds(first or 0),
        last_seen=from_milliseconds(last or 0),
        per_hour=tuple(per_hour or [0] * _HOURS),
    )
