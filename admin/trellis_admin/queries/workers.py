"""The processes that work queues, by their heartbeats."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from pydantic import JsonValue
from trellis_nats import Maintenance
from trellis_nats.jobs.model.event import instant
from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.codes import from_milliseconds, to_milliseconds
from trellis_admin.queries.jobs import snapshot
from trellis_admin.queries.rows import JobRow, WorkedQueueRow, WorkerRow

__all__ = ["HEARTBEAT_EVERY", "LATE_AFTER", "SILENT_AFTER", "find_silence", "list_workers"]

SILENT_AFTER: Final = timedelta(seconds=75)
"""A worker sends a heartbeat every 30 s: it has missed two."""
HEARTBEAT_EVERY: Final = Maintenance().heartbeat_every
"""The default of a service."""
LATE_AFTER: Final = 1.5 * HEARTBEAT_EVERY
"""A worker has missed one."""
_LISTED: Final = timedelta(days=1)
_STOPPED: Final = timedelta(minutes=5)
"""How long a process is listed that reported that it stops."""
_LAG_MAX: Final = 10**9
"""Milliseconds: a number that is larger is not a lag."""


class _Beat(NamedTuple):
    """A heartbeat of a process for one queue."""

    prefix: str
    service: str
    queue: str
    at: datetime
    first_at: datetime
    concurrency: int
    version: str | None
    extension: Mapping[str, JsonValue]


def list_workers(
    db: sqlite3.Connection, now: datetime, *, silent_after: timedelta = SILENT_AFTER
) -> list[WorkerRow]:
    """Return the processes that sent a heartbeat within a day or left jobs, those in trouble first, and those that have stopped last.

    A process that reported that it stops is among them for some minutes, and is not silent.

    Args:
        db: a connection of `connect_reader`.
        now: the instant at which silence is judged.
        silent_after: how old the newest heartbeat of a process is when it counts as silent.
    """
    with snapshot(db):
        rows = db.execute(
            "SELECT instance, prefix, service, queue, at, first_at, concurrency, version, extension FROM worker "
            "WHERE at >= ? OR instance IN "
            "(SELECT text FROM queue CROSS JOIN job INDEXED BY job_state ON job.queue = queue.number AND state = 1 "
            "CROSS JOIN word ON word.number = job.worker) ORDER BY instance, queue",
            (to_milliseconds(now - _LISTED),),
        ).fetchall()
        active = Counter[tuple[str, str]]()
        for worker, prefix, jobs in db.execute(
            "SELECT text, prefix, count(*) FROM queue CROSS JOIN job INDEXED BY job_state "
            "ON job.queue = queue.number AND state = 1 CROSS JOIN word ON word.number = worker GROUP BY 1, 2"
        ):
            active[worker, prefix] = jobs
    beats: dict[tuple[str, str], list[_Beat]] = {}
    for row in rows:
        beat = _read(row)
        beats.setdefault((row[0], beat.service), []).append(beat)
    workers = [_describe(instance, of, active, now, silent_after) for (instance, _), of in beats.items()]
    listed = [worker for worker in workers if not worker.is_stopping or now - worker.heartbeat_at < _STOPPED]
    return sorted(
        listed,
        key=lambda worker: (
            worker.has_stopped,
            not worker.is_silent,
            not worker.is_blocked,
            not worker.is_stopping,
            worker.service,
            worker.instance_id,
        ),
    )


def find_silence(db: sqlite3.Connection, job: JobRow, now: datetime) -> datetime | None:
    """Return when the worker of a running job sent its last heartbeat, if it is silent; None if it is not, or the job does not run."""
    if job.state is not JobState.ACTIVE or job.worker is None:
        return None
    beats = [
        worker.heartbeat_at
        for worker in list_workers(db, now)
        if worker.is_silent and worker.instance_id == job.worker
    ]
    return max(beats, default=None)


def _read(row: tuple[Any, ...]) -> _Beat:
    """Return a heartbeat. Any: SQLite gives rows without types."""
    _, prefix, service, queue, at, first_at, concurrency, version, extension = row
    return _Beat(
        prefix,
        service,
        queue,
        from_milliseconds(at),
        from_milliseconds(first_at),
        concurrency,
        version,
        json.loads(extension),
    )


def _describe(
    instance: str,
    beats: Sequence[_Beat],
    active: Counter[tuple[str, str]],
    now: datetime,
    silent_after: timedelta,
) -> WorkerRow:
    newest = max(beats, key=lambda beat: beat.at)
    says = newest.extension
    # A process may have stopped to work a queue: what it said about that long before its newest heartbeat is over.
    current = [beat for beat in beats if newest.at - beat.at <= silent_after]
    queues = tuple(
        WorkedQueueRow(
            queue=beat.queue,
            prefix=beat.prefix,
            concurrency=beat.concurrency,
            running=_integer(beat.extension, "running"),
            is_paused=bool(beat.extension.get("paused")),
        )
        for beat in current
    )
    lag = _number(says, "loopLagMs")
    is_stopping = any(
        beat.extension.get(name) is True for beat in current for name in ("stopping", "stopped")
    )
    is_silent = not is_stopping and now - newest.at > silent_after
    return WorkerRow(
        instance_id=instance,
        service=newest.service,
        queues=queues,
        heartbeat_at=newest.at,
        first_at=min(beat.first_at for beat in beats),
        is_silent=is_silent,
        is_late=not is_stopping and LATE_AFTER < now - newest.at <= silent_after,
        is_stopping=is_stopping,
        version=newest.version,
        digest=_text(says, "contractDigest"),
        running=sum(
            active[instance, queue.prefix] if is_silent or queue.running is None else queue.running
            for queue in queues
        ),
        slots=sum(queue.concurrency for queue in queues),
        host=_text(says, "host"),
        pid=_integer(says, "pid"),
        started_at=instant(_text(says, "startedAt")),
        loop_lag=None if lag is None else timedelta(milliseconds=lag),
        memory_bytes=_integer(says, "memoryBytes"),
        extension=says,
    )


def _text(says: Mapping[str, JsonValue], name: str) -> str | None:
    found = says.get(name)
    return found if isinstance(found, str) else None


def _integer(says: Mapping[str, JsonValue], name: str) -> int | None:
    found = says.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _number(says: Mapping[str, JsonValue], name: str) -> float | None:
    found = says.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if 0 <= found < _LAG_MAX else None
