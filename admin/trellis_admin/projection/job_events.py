"""Reads the events of one job from the stream."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import split_ack_subject
from trellis_nats._nats.jetstream.bulk_reader import BulkReader, Stored
from trellis_nats._versions import digest_of
from trellis_nats.jobs.model.states import STATE_EVENTS, TERMINAL_EVENTS, EventType
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects

from trellis_admin.projection.incoming import Incoming

__all__ = ["JobEvents", "read_incoming", "read_job_events"]

_STATES_MAX: Final = 2_000
"""How many events that make states are kept, the newest ones."""
_REPORTS_MAX: Final = 5_000
"""Likewise, reports and logs."""
_ALWAYS: Final = TERMINAL_EVENTS | {EventType.CREATED, EventType.RETRIED, EventType.CHECKPOINT}
"""Of the older events, the newest one of each of these types is kept, too: they say what the job is, and which events count."""
_NANOSECONDS: Final = 1_000_000


class JobEvents(NamedTuple):
    """The events of a job."""

    messages: list[Incoming]
    """Oldest first."""
    is_cut: bool
    """Whether there are more: the newest ones are kept, and the newest that began or ended the job, or is a checkpoint."""


def read_incoming(stored: Stored) -> Incoming:
    """Return a message that a bulk reader read."""
    message = stored.message
    stored_at = int(split_ack_subject(message.reply)[3]) // _NANOSECONDS
    return Incoming(stored.sequence, stored_at, message.subject, message.data, digest_of(message.headers))


async def read_job_events(connection: Connection, prefix: str, job_id: str, *, after: int = 0) -> JobEvents:
    """Return the events of a job; none where the stream does not have it.

    Args:
        connection: to the server.
        prefix: the publish prefix of its queue.
        job_id: its id. Both are valid in a subject.
        after: only what was stored after this sequence.

    Raises:
        PermissionDenied: the account may not read the stream.
        ApiError: there is no such stream.
        TransportError: the server does not answer.
    """
    states: deque[Incoming] = deque(maxlen=_STATES_MAX)
    reports: deque[Incoming] = deque(maxlen=_REPORTS_MAX)
    always: dict[str, Incoming] = {}
    read = 0
    async with BulkReader(connection, STREAM, [JobSubjects(prefix).job(job_id)], after=after) as reader:
        while page := await reader.read():
            read += len(page)
            for stored in page:
                kept = states if _kind(stored.message.subject) in STATE_EVENTS else reports
                if len(kept) == kept.maxlen and (kind := _kind(kept[0].subject)) in _ALWAYS:
                    always[kind] = kept[0]
                kept.append(read_incoming(stored))
    messages = sorted((*states, *reports, *always.values()), key=_sequence)
    return JobEvents(messages, read > len(messages))


def _sequence(message: Incoming) -> int:
    return message.sequence


def _kind(subject: str) -> str:
    return subject.rpartition(".")[2]
