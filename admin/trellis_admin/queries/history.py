"""One job's whole history, read from the stream."""

from __future__ import annotations

from collections import deque
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import split_ack_subject
from trellis_nats._nats.jetstream.bulk_reader import BulkReader
from trellis_nats._versions import digest_of
from trellis_nats.errors import ApiError, JobNotFound
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.states import STATE_EVENTS
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects

from trellis_admin.projection.incoming import Incoming
from trellis_admin.queries.history_rows import JobHistory
from trellis_admin.queries.timeline import build_history

__all__ = ["read_history"]

_STATES_MAX: Final = 2_000
"""How many events that make states are kept, the newest ones."""
_REPORTS_MAX: Final = 5_000
"""Likewise, reports and logs."""
_NANOSECONDS: Final = 1_000_000
_NO_STREAM: Final = 10059


async def read_history(connection: Connection, prefix: str, job_id: str) -> JobHistory:
    """Read one job from the stream.

    Args:
        connection: to the server.
        prefix: the publish prefix of its queue.
        job_id: its id.

    Raises:
        JobNotFound: the stream has no such job, or does not have it any more.
        PermissionDenied: the account may not read the stream.
        TransportError: the server does not answer.
    """
    subjects = JobSubjects(prefix)
    not_found = JobNotFound(f'no job "{job_id}" is stored under {prefix}')
    if not all(map(is_token, (*prefix.split("."), job_id))):
        raise not_found
    states: deque[Incoming] = deque(maxlen=_STATES_MAX)
    reports: deque[Incoming] = deque(maxlen=_REPORTS_MAX)
    read = 0
    try:
        async with BulkReader(connection, STREAM, [subjects.job(job_id)]) as reader:
            while page := await reader.read():
                read += len(page)
                for sequence, message in page:
                    stored_at = int(split_ack_subject(message.reply)[3]) // _NANOSECONDS
                    digest = digest_of(message.headers)
                    incoming = Incoming(sequence, stored_at, message.subject, message.data, digest)
                    kept = states if message.subject.rpartition(".")[2] in STATE_EVENTS else reports
                    kept.append(incoming)
    except ApiError as error:
        if error.err_code != _NO_STREAM:
            raise
        raise not_found from None
    messages = sorted((*states, *reports), key=_sequence)
    history = build_history(prefix, job_id, messages, is_cut=read > len(messages))
    if history is None:
        raise not_found
    return history


def _sequence(message: Incoming) -> int:
    return message.sequence
