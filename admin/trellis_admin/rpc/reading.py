"""Reads jobs from the stream, as the admin RPCs return them."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.bulk_reader import BulkReader
from trellis_nats.errors import MalformedJobEvent
from trellis_nats.jobs.model.event import JobLogEntry, LifecycleEvent
from trellis_nats.jobs.model.snapshot import types_to_read
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects
from trellis_nats.jobs.store.event_log import EventLog

from trellis_admin.payloads import Revealed
from trellis_admin.rpc.job_object import to_job
from trellis_admin.rpc.trellis_jobs_participant import Job

__all__ = ["read_job", "read_logs"]

_TIMEOUT: Final = timedelta(seconds=5)
_LINES_MAX: Final = 1_000
"""How many of a job's lines are returned: the newest ones."""


async def read_job(
    connection: Connection,
    prefix: str,
    job_id: str,
    *,
    with_logs: bool = False,
    revealed: Revealed | None = None,
) -> Job | None:
    """Read a job, with values only if they are revealed; None where it is not stored, or the wire cannot name it.

    Raises:
        TransportError: the server did not answer.
    """
    event_log = EventLog(connection, JobSubjects(prefix), digest="", timeout=_TIMEOUT)
    try:
        newest = await event_log.newest(job_id)
        if newest is None:
            return None
        types = types_to_read(newest.event)
        others = await event_log.latest_by_type(job_id, types) if types else []
    except MalformedJobEvent:
        return None
    logs = await read_logs(connection, prefix, job_id) if with_logs else ()
    return to_job(sorted((*others, newest), key=lambda stored: stored.sequence), logs, revealed)


async def read_logs(connection: Connection, prefix: str, job_id: str) -> list[JobLogEntry]:
    """Return the newest 1,000 lines that the handlers of a job logged, since it was last sent again.

    Raises:
        TransportError: the server did not answer.
    """
    subjects = JobSubjects(prefix)
    kinds = (EventType.LOGGED, EventType.RETRIED)
    lines: deque[JobLogEntry] = deque(maxlen=_LINES_MAX)
    filters = [subjects.event(job_id, kind) for kind in kinds]
    async with BulkReader(connection, STREAM, filters) as reader:
        while page := await reader.read():
            for _, message in page:
                event = LifecycleEvent.parse(message.data)
                if event is None:
                    continue
                if event.event_type == EventType.RETRIED:
                    lines.clear()
                lines.extend(event.logs or ())
    return list(lines)
