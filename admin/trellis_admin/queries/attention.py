"""What needs an operator, as far as the projection knows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.codes import STATE_CODES, from_milliseconds, to_milliseconds
from trellis_admin.queries.groups import list_error_groups
from trellis_admin.queries.jobs import COUNTED_MAX
from trellis_admin.queries.rows import Attention, AttentionKind, QueueRow, WorkerRow
from trellis_admin.queries.version_waits import find_in_queue

__all__ = ["find_attention"]

_LATELY: Final = timedelta(hours=24)
_DEAD_MOST: Final = 5
"""How many groups of dead jobs are named."""
_OVERDUE_SINCE: Final = timedelta(minutes=1)
_STUCK_SINCE: Final = timedelta(minutes=5)
_RUNS_SINCE: Final = timedelta(minutes=10)
_RUNS_LONGEST: Final = timedelta(minutes=30)
"""One job that hung before it was cancelled must not make the next one look usual."""
_LONG_RUNS: Final = 3
"""A job has run for long when it has taken so many times the run time that 95 % of its queue stay below."""
_WORKED: Final = (JobState.ACTIVE, JobState.RETRY, JobState.COMPLETED, JobState.FAILED, JobState.DEAD)
"""The states in which a worker puts a job."""
_ORDER: Final = {kind: number for number, kind in enumerate(AttentionKind)}


def find_attention(
    db: sqlite3.Connection, now: datetime, queues: Sequence[QueueRow], workers: Sequence[WorkerRow]
) -> list[Attention]:
    """Return what needs an operator, the worst first, given the queues and their workers."""
    found = [*_find_dead(db, now), *_find_in_trouble(workers)]
    for queue in queues:
        found += _find_in_queue(db, now, queue, workers)
    return sorted(found, key=lambda item: (_ORDER[item.kind], -item.number))


def _find_dead(db: sqlite3.Connection, now: datetime) -> Iterator[Attention]:
    groups = [group for group in list_error_groups(db, now) if now - group.last_seen < _LATELY]
    for group in groups[:_DEAD_MOST]:
        yield Attention(
            kind=AttentionKind.DEAD,
            service=group.service,
            queue=group.queue,
            subject=group.error_type or group.pattern,
            fingerprint=group.fingerprint,
            number=group.jobs,
            since=group.last_seen,
        )


def _find_in_trouble(workers: Sequence[WorkerRow]) -> Iterator[Attention]:
    for worker in workers:
        if worker.is_blocked:
            kind, since = AttentionKind.BLOCKED, worker.heartbeat_at - (worker.loop_lag or timedelta())
        elif worker.is_silent and worker.running:
            kind, since = AttentionKind.SILENT, worker.heartbeat_at
        else:
            continue
        yield Attention(
            kind=kind,
            service=worker.service,
            queue=None,
            subject=worker.instance_id,
            fingerprint=None,
            number=worker.running,
            since=since,
        )


def _find_in_queue(
    db: sqlite3.Connection, now: datetime, queue: QueueRow, workers: Sequence[WorkerRow]
) -> Iterator[Attention]:
    def item(kind: AttentionKind, number: int, since: datetime | None, subject: str = "") -> Attention:
        return Attention(
            kind=kind,
            service=queue.service,
            queue=queue.queue,
            subject=subject or queue.queue,
            fingerprint=None,
            number=number,
            since=since,
        )

    number = db.execute("SELECT number FROM queue WHERE prefix = ?", (queue.prefix,)).fetchone()
    if number is None:
        return
    if queue.paused_workers:
        yield item(AttentionKind.PAUSED, queue.waiting, queue.oldest)
    elif queue.oldest is not None and not queue.workers:
        yield item(AttentionKind.NO_WORKER, queue.waiting, queue.oldest)
    elif (since := _find_standstill(db, number[0], queue, now)) is not None:
        yield item(AttentionKind.NO_SLOT, queue.waiting, since)
    elif queue.oldest is not None and _is_stuck(db, number[0], queue, now):
        yield item(AttentionKind.STUCK, queue.waiting, queue.oldest)
    overdue, deadline = _count_overdue(db, number[0], now)
    if overdue:
        yield item(AttentionKind.OVERDUE, overdue, deadline)
    for wait in find_in_queue(db, now, queue, workers):
        yield item(AttentionKind.OTHER_VERSION, wait.jobs, wait.since, wait.digest)


def _is_stuck(db: sqlite3.Connection, number: int, queue: QueueRow, now: datetime) -> bool:
    """Return whether a job without a key has waited for long while slots are free."""
    if queue.running >= queue.slots:
        return False
    row = db.execute(
        "SELECT state_at, key_hash FROM job INDEXED BY job_state_seq WHERE queue = ? AND state = 0 AND next_at IS NULL ORDER BY state_seq LIMIT 1",
        (number,),
    ).fetchone()
    return row is not None and row[1] is None and row[0] < to_milliseconds(now - _STUCK_SINCE)


def _find_standstill(db: sqlite3.Connection, number: int, queue: QueueRow, now: datetime) -> datetime | None:
    """Return since when jobs wait and none began or ended, if every slot is taken, and that is for longer than its jobs usually run."""
    if queue.oldest is None or max(queue.running, queue.busy) < queue.slots:
        return None
    rows = [
        db.execute(
            "SELECT state_at FROM job INDEXED BY job_state_seq WHERE queue = ? AND state = ? ORDER BY state_seq DESC LIMIT 1",
            (number, STATE_CODES[state]),
        ).fetchone()
        for state in _WORKED
    ]
    since = max([queue.oldest, *(from_milliseconds(row[0]) for row in rows if row is not None)])
    usual = min(_LONG_RUNS * (queue.run_p95 or timedelta()), _RUNS_LONGEST)
    return since if now - since > max(_RUNS_SINCE, usual) else None


def _count_overdue(db: sqlite3.Connection, number: int, now: datetime) -> tuple[int, datetime | None]:
    jobs, first = db.execute(
        "SELECT count(*), min(deadline) FROM (SELECT deadline FROM job INDEXED BY job_deadline WHERE deadline < ? AND state < 3 AND +queue = ? "
        "LIMIT ?)",
        (to_milliseconds(now - _OVERDUE_SINCE), number, COUNTED_MAX),
    ).fetchone()
    return jobs, None if first is None else from_milliseconds(first)
