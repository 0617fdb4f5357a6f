"""Measures the projection: jobs, waits, errors and workers."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from trellis_admin.metrics.exposition import Measurement
from trellis_admin.metrics.families import (
    ERROR_GROUP_JOBS,
    JOBS,
    KEY_WAITS,
    OLDEST,
    PROJECTION_AGE,
    PROJECTION_COMPLETE,
    PROJECTION_LAG,
    PROJECTION_SEQUENCE,
    QUEUE_WORKERS,
    RECENT_EVENTS,
    RETRIES_DUE,
    RUN_TIME,
    SLOTS,
    WAIT_TIME,
    WORKERS,
)
from trellis_admin.queries import (
    QueueRow,
    WorkerRow,
    list_error_groups,
    list_keys,
    list_queues,
    list_workers,
    read_status,
)

__all__ = ["GROUPS_MAX", "measure_projection", "measure_queue", "measure_status"]

GROUPS_MAX: Final = 50
"""How many groups of errors have series of their own: an error with a text that never repeats must not fill Prometheus."""
_WINDOW: Final = timedelta(minutes=5)
_OTHERS: Final = "other"


def measure_projection(
    db: sqlite3.Connection, now: datetime, queues: list[QueueRow] | None = None
) -> list[Measurement]:
    """Return what the projection knows.

    Args:
        db: a connection of `connect_reader`.
        now: the instant from which ages count.
        queues: the queues as `recent_queues` returns them; None reads them.
    """
    rows = recent_queues(db, now) if queues is None else queues
    found = [measurement for row in rows for measurement in measure_queue(row, now)]
    for row in rows:
        waiting = sum(key.waiting for key in list_keys(db, prefix=row.prefix) if key.running)
        found.append(Measurement(KEY_WAITS, (row.service, row.queue), waiting))
    found += _measure_groups(db, now)
    found += _measure_workers(list_workers(db, now))
    return found


def recent_queues(db: sqlite3.Connection, now: datetime) -> list[QueueRow]:
    """Return the queues with what happened in the last 5 minutes."""
    return list_queues(db, _WINDOW, now)


def measure_queue(row: QueueRow, now: datetime) -> Iterator[Measurement]:
    """Yield what is known about one queue."""
    labels = (row.service, row.queue)
    for state, number in row.states.items():
        yield Measurement(JOBS, (*labels, state.value), number)
    yield Measurement(OLDEST, labels, 0 if row.oldest is None else _seconds(now - row.oldest))
    yield Measurement(RETRIES_DUE, labels, row.retries_due)
    yield Measurement(SLOTS, labels, row.slots)
    yield Measurement(QUEUE_WORKERS, labels, row.workers)
    for event, number in (
        ("created", row.created),
        ("completed", row.completed),
        ("ended_badly", row.ended_badly),
        ("died", row.died),
        ("failed_attempt", row.failed_attempts),
    ):
        yield Measurement(RECENT_EVENTS, (*labels, event), number)
    for family, percentile, duration in (
        (RUN_TIME, "50", row.run_p50),
        (RUN_TIME, "95", row.run_p95),
        (WAIT_TIME, "95", row.wait_p95),
    ):
        if duration is not None:
            yield Measurement(family, (*labels, percentile), _seconds(duration))


def measure_status(db: sqlite3.Connection, now: datetime, last_sequence: int | None) -> list[Measurement]:
    """Return how far the projection has read.

    Args:
        db: a connection of `connect_reader`.
        now: the instant from which its age counts.
        last_sequence: the end of the stream now; None where the server does not say.
    """
    status = read_status(db)
    lag = max((status.last_sequence if last_sequence is None else last_sequence) - status.at, 0)
    age = 0.0 if not lag or status.as_of is None else _seconds(now - status.as_of)
    return [
        Measurement(PROJECTION_SEQUENCE, (), status.at),
        Measurement(PROJECTION_LAG, (), lag),
        Measurement(PROJECTION_AGE, (), age),
        Measurement(PROJECTION_COMPLETE, (), int(status.is_complete)),
    ]


def _measure_groups(db: sqlite3.Connection, now: datetime) -> Iterator[Measurement]:
    groups = list_error_groups(db, now)
    for group in groups[:GROUPS_MAX]:
        labels = (group.service, group.queue, group.fingerprint, group.error_type or "")
        yield Measurement(ERROR_GROUP_JOBS, labels, group.jobs)
    others = Counter[tuple[str, str]]()
    for group in groups[GROUPS_MAX:]:
        others[group.service, group.queue] += group.jobs
    for (service, queue), jobs in others.items():
        yield Measurement(ERROR_GROUP_JOBS, (service, queue, _OTHERS, ""), jobs)


def _measure_workers(workers: list[WorkerRow]) -> Iterator[Measurement]:
    numbers = Counter[tuple[str, str]]()
    for worker in workers:
        if worker.has_stopped:
            continue
        state = "silent" if worker.is_silent else "stopping" if worker.is_stopping else "live"
        numbers[worker.service, state] += 1
    for service in sorted({worker.service for worker in workers}):
        for state in ("live", "stopping", "silent"):
            yield Measurement(WORKERS, (service, state), numbers[service, state])


def _seconds(duration: timedelta) -> float:
    return max(duration.total_seconds(), 0.0)
