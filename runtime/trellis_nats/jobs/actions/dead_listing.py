"""Lists the dead jobs of a queue from the stream: by the subjects of their events, without any body."""

from __future__ import annotations

from typing import NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.stream_scan import scan_stream
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects

__all__ = ["DeadEntry", "list_dead"]

_DECIDING = (EventType.DEAD, EventType.RETRIED, EventType.DISMISSED)


class DeadEntry(NamedTuple):
    """A job that died."""

    job_id: str
    sequence: int
    """The sequence of the event by which it died."""


async def list_dead(connection: Connection, subjects: JobSubjects) -> list[DeadEntry]:
    """Return the jobs of a queue that died and were neither replayed nor dismissed since. The oldest death comes first.

    The cost follows the jobs that ever died and are stored, not all jobs: about 20,000 a second.

    Raises:
        PermissionDenied: the account may not create a consumer on stream JOBS. Workers do not need that.
        TransportError: NATS did not answer.
    """
    died: dict[str, int] = {}
    filters = [subjects.event("*", event) for event in _DECIDING]
    async with scan_stream(connection, STREAM, filters, rate_limit=RateLimit(), latest=True) as scan:
        async for page in scan.pages():
            for entry in page:
                parsed = subjects.parse(entry.subject)
                if parsed is None:
                    continue
                job_id, event = parsed
                died.pop(job_id, None)
                if event == EventType.DEAD:
                    died[job_id] = entry.sequence
    return [DeadEntry(job_id, sequence) for job_id, sequence in died.items()]
