"""Jobs that wait because no running worker of their queue can read them, as far as the projection can tell."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.codes import STATE_CODES, from_milliseconds, to_milliseconds
from trellis_admin.queries.jobs import COUNTED_MAX, snapshot
from trellis_admin.queries.queues import list_queues
from trellis_admin.queries.rows import JobRow, QueueRow, WorkerRow
from trellis_admin.queries.workers import list_workers

__all__ = ["VersionWait", "find_in_queue", "find_version_waits", "find_wait_of"]

_DUE_FOR: Final = timedelta(minutes=1)
"""How long a job has been due, at least: a worker that is free begins it in milliseconds, or gives it back for up to 30 s."""
_WINDOW: Final = timedelta(minutes=1)
_WAITING: Final = (STATE_CODES[JobState.PENDING], STATE_CODES[JobState.RETRY])
_ACTIVE: Final = STATE_CODES[JobState.ACTIVE]


class VersionWait(NamedTuple):
    """Jobs of a queue that one version of its contract wrote, and that stay due although a worker is free."""

    service: str
    queue: str
    prefix: str
    digest: str
    """Of the contract that wrote them. No live worker of the queue has it."""
    jobs: int
    since: datetime
    """When the first of them was due."""
    live: tuple[str, ...]
    """The digests of the live workers of the queue."""


def find_version_waits(db: sqlite3.Connection, now: datetime) -> list[VersionWait]:
    """Return the jobs that have been due for a minute, and that a worker which is free does not begin.

    A newer worker can usually read the payloads of an older version. So a job counts only while its queue has a free slot, and nothing
    runs there that came after the job was due. A job whose key is taken waits for that.

    Args:
        db: a connection of `connect_reader`.
        now: the instant at which they are due.
    """
    with snapshot(db):
        workers = list_workers(db, now)
        return [
            wait for queue in list_queues(db, _WINDOW, now) for wait in find_in_queue(db, now, queue, workers)
        ]


def find_wait_of(db: sqlite3.Connection, job: JobRow, now: datetime) -> VersionWait | None:
    """Return why no worker begins a job, if it waits for another version; see `find_version_waits`."""
    due = max(job.state_at, job.next_at or job.state_at)
    if job.state not in {JobState.PENDING, JobState.RETRY} or now - due < _DUE_FOR:
        return None
    for wait in find_version_waits(db, now):
        if (wait.prefix, wait.digest) == (job.prefix, job.digest):
            return wait
    return None


def find_in_queue(
    db: sqlite3.Connection, now: datetime, queue: QueueRow, workers: Sequence[WorkerRow]
) -> Iterator[VersionWait]:
    """Yield those of one queue, given its workers: one for each digest. None where a worker does not say which version it has."""
    live = {
        worker.digest
        for worker in workers
        if not worker.is_silent
        and not worker.is_stopping
        and any(worked.prefix == queue.prefix for worked in worker.queues)
    }
    known = sorted(digest for digest in live if digest is not None)
    if not known or None in live or queue.paused_workers or queue.running >= queue.slots:
        return
    (number,) = db.execute("SELECT number FROM queue WHERE prefix = ?", (queue.prefix,)).fetchone() or (None,)
    if number is None:
        return
    (newest,) = db.execute(
        "SELECT max(created_at) FROM job INDEXED BY job_state WHERE queue = ? AND state = ?",
        (number, _ACTIVE),
    ).fetchone()
    for digest, text in _list_digests(db, number):
        if text in live:
            continue
        found = [_count_due(db, number, state, digest, now) for state in _WAITING]
        since = min((due for _, due in found if due is not None), default=None)
        if since is not None and (newest is None or newest > since):
            yield VersionWait(
                queue.service,
                queue.queue,
                queue.prefix,
                text,
                sum(jobs for jobs, _ in found),
                from_milliseconds(since),
                tuple(known),
            )


def _list_digests(db: sqlite3.Connection, queue: int) -> list[tuple[int, str]]:
    """Return the digests of the jobs that wait, as numbers and as texts."""
    numbers = set[int]()
    for state in _WAITING:
        digest = 0
        # From digest to digest through the index: there are few, and many jobs of each.
        while row := db.execute(
            "SELECT digest FROM job INDEXED BY job_open_digest WHERE queue = ? AND state = ? AND state < 3 "
            "AND digest > ? ORDER BY digest LIMIT 1",
            (queue, state, digest),
        ).fetchone():
            digest = int(row[0])
            numbers.add(digest)
    return [
        (number, db.execute("SELECT text FROM word WHERE number = ?", (number,)).fetchone()[0])
        for number in sorted(numbers)
    ]


def _count_due(
    db: sqlite3.Connection, queue: int, state: int, digest: int, now: datetime
) -> tuple[int, int | None]:
    """Return how many jobs are due and have a free key, and since when the first one is."""
    jobs, since = db.execute(
        "SELECT count(*), min(due) FROM (SELECT max(state_at, coalesce(next_at, 0)) AS due FROM job INDEXED BY job_open_digest "
        "WHERE queue = ? AND state = ? AND state < 3 AND digest = ? AND max(state_at, coalesce(next_at, 0)) <= ? "
        "AND (key_hash IS NULL OR NOT EXISTS (SELECT 1 FROM job AS holder WHERE holder.queue = job.queue "
        "AND holder.key_hash = job.key_hash AND holder.state = ? AND holder.state < 3)) LIMIT ?)",
        (queue, state, digest, to_milliseconds(now - _DUE_FOR), _ACTIVE, COUNTED_MAX),
    ).fetchone()
    return int(jobs), since
