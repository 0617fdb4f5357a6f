"""Queues, now and in a window before."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from trellis_nats.jobs.model.states import EventType, JobState

from trellis_admin.projection.codes import STATE_CODES, STATES, from_milliseconds, to_milliseconds
from trellis_admin.queries.jobs import COUNTED_MAX, snapshot
from trellis_admin.queries.recreated import count_recreated
from trellis_admin.queries.rows import QueueRow, WorkerRow
from trellis_admin.queries.series import BAD, ENDED, Happened, Window, count_by_state, read_happened
from trellis_admin.queries.workers import list_workers

__all__ = ["list_queues", "read_queues"]

_PENDING: Final = STATE_CODES[JobState.PENDING]
_RETRY: Final = STATE_CODES[JobState.RETRY]


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
    with snapshot(db):
        span = Window.ending(now, window)
        rows = read_queues(db, span, now, read_happened(db, span), list_workers(db, now))
    return [row for row in rows if prefix in (None, row.prefix)]


def read_queues(
    db: sqlite3.Connection,
    window: Window,
    now: datetime,
    happened: Mapping[int, Happened],
    workers: Sequence[WorkerRow],
) -> list[QueueRow]:
    """Return every queue, given what happened in them, by number, and their workers."""
    counts, recreated = count_by_state(db), count_recreated(db)
    rows: dict[str, QueueRow] = {}
    for number, prefix, service, name in db.execute(
        "SELECT number, prefix, service, name FROM queue"
    ).fetchall():
        states = counts.get(number, dict.fromkeys(STATES, 0))
        waiting = _read_waiting(db, number, to_milliseconds(now))
        rows[prefix] = _describe(
            prefix,
            service,
            name,
            states,
            waiting,
            happened.get(number, Happened(window)),
            _Fleet.of(prefix, workers),
            recreated[prefix],
        )
    for worker in workers:
        for queue in worker.queues:
            if queue.prefix not in rows:  # it works, and has had no job yet
                rows[queue.prefix] = _describe(
                    queue.prefix,
                    worker.service,
                    queue.queue,
                    dict.fromkeys(STATES, 0),
                    _Waiting(None, None, 0),
                    Happened(window),
                    _Fleet.of(queue.prefix, workers),
                )
    return sorted(rows.values(), key=lambda row: (-row.waiting, row.service, row.queue))


class _Waiting(NamedTuple):
    oldest: datetime | None
    next_retry: datetime | None
    retries_due: int


class _Fleet(NamedTuple):
    """What the workers of a queue say, those that are not silent."""

    workers: int
    late: int
    slots: int
    busy: int
    paused: int

    @classmethod
    def of(cls, prefix: str, workers: Sequence[WorkerRow]) -> _Fleet:
        found = [
            (worker, queue)
            for worker in workers
            if not worker.is_silent and not worker.is_stopping
            for queue in worker.queues
            if queue.prefix == prefix
        ]
        return cls(
            len(found),
            sum(worker.is_late for worker, _ in found),
            sum(queue.concurrency for _, queue in found),
            sum(queue.running or 0 for _, queue in found),
            sum(queue.is_paused for _, queue in found),
        )


def _read_waiting(db: sqlite3.Connection, queue: int, now: int) -> _Waiting:
    since = [
        found[0]
        for found in (
            db.execute(
                "SELECT state_at FROM job INDEXED BY job_state_seq WHERE queue = ? AND state = ? AND next_at IS NULL "
                "ORDER BY state_seq LIMIT 1",
                (queue, _PENDING),
            ).fetchone(),
            db.execute(
                "SELECT next_at FROM job INDEXED BY job_next WHERE queue = ? AND state = ? AND next_at <= ? ORDER BY next_at LIMIT 1",
                (queue, _PENDING, now),
            ).fetchone(),
        )
        if found is not None
    ]
    next_retry = db.execute(
        "SELECT min(next_at) FROM job INDEXED BY job_next WHERE queue = ? AND state = ? AND next_at > ?",
        (queue, _RETRY, now),
    ).fetchone()[0]
    due = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY job_next WHERE queue = ? AND state = ? AND next_at <= ? LIMIT ?)",
        (queue, _RETRY, now, COUNTED_MAX),
    ).fetchone()[0]
    return _Waiting(
        from_milliseconds(min(since)) if since else None,
        None if next_retry is None else from_milliseconds(next_retry),
        due,
    )


def _describe(
    prefix: str,
    service: str,
    queue: str,
    states: Mapping[JobState, int],
    waiting: _Waiting,
    happened: Happened,
    fleet: _Fleet,
    recreated: int = 0,
) -> QueueRow:
    completed, bad = happened.count(EventType.COMPLETED), happened.count(*BAD)
    pending = states[JobState.PENDING]
    return QueueRow(
        service=service,
        queue=queue,
        prefix=prefix,
        waiting=pending,
        oldest=waiting.oldest,
        running=states[JobState.ACTIVE],
        slots=fleet.slots,
        busy=fleet.busy,
        workers=fleet.workers,
        late_workers=fleet.late,
        paused_workers=fleet.paused,
        retrying=states[JobState.RETRY],
        next_retry=waiting.next_retry,
        retries_due=waiting.retries_due,
        dead=states[JobState.DEAD],
        stale=states[JobState.STALE] - recreated,
        states=states,
        created=happened.count(EventType.CREATED),
        completed=completed,
        ended_badly=bad,
        failed_attempts=happened.count(EventType.RETRY, EventType.FAILED, EventType.DEAD),
        died=happened.count(EventType.DEAD),
        ended_per_minute=happened.rate(*ENDED),
        success=completed / (completed + bad) if completed + bad else None,
        run_p50=happened.run(0.5),
        run_p95=happened.run(0.95),
        wait_p95=happened.wait(0.95),
        history=happened.history(pending, JobState.PENDING),
        ended=happened.series(*ENDED),
    )
