"""One job's whole history, read from the stream."""

from __future__ import annotations

from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats.errors import ApiError, JobNotFound
from trellis_nats.ids import is_token

from trellis_admin.projection.job_events import read_job_events
from trellis_admin.queries.history_rows import JobHistory
from trellis_admin.queries.timeline import build_history

__all__ = ["read_history"]

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
    not_found = JobNotFound(f'no job "{job_id}" is stored under {prefix}')
    if not all(map(is_token, (*prefix.split("."), job_id))):
        raise not_found
    try:
        events = await read_job_events(connection, prefix, job_id)
    except ApiError as error:
        if error.err_code != _NO_STREAM:
            raise
        raise not_found from None
    history = build_history(prefix, job_id, events.messages, is_cut=events.is_cut)
    if history is None:
        raise not_found
    return history
