"""One job's whole history, read from the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.errors import ApiError, JobNotFound
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects

from trellis_admin.projection.incoming import Incoming
from trellis_admin.projection.job_events import JobEvents, read_job_events
from trellis_admin.queries.history_rows import JobHistory
from trellis_admin.queries.timeline import build_history

__all__ = ["follow_history", "read_history"]

_NO_STREAM: Final = 10059
_POLL: Final = 1.0
"""Seconds between two looks at the newest event of a job."""
_FOLLOWED_MAX: Final = 10_000
"""How many events are kept of a job that is followed: one with more is read again, with its newest reports."""


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
    messages, is_cut = await _read_events(connection, prefix, job_id, after=0)
    return _build(prefix, job_id, messages, is_cut=is_cut)


async def follow_history(connection: Connection, prefix: str, job_id: str) -> AsyncGenerator[JobHistory]:
    """Yield a job as it is, and again after each change. What was read is not read again. Args and errors as of `read_history`."""
    messages, is_cut = await _read_events(connection, prefix, job_id, after=0)
    while True:
        yield _build(prefix, job_id, messages, is_cut=is_cut)
        last = messages[-1].sequence
        await _wait_for_event(connection, prefix, job_id, after=last)
        if len(messages) > _FOLLOWED_MAX:
            messages, last = [], 0
        added, is_more_cut = await _read_events(connection, prefix, job_id, after=last)
        messages, is_cut = [*messages, *added], is_cut or is_more_cut


async def _wait_for_event(connection: Connection, prefix: str, job_id: str, *, after: int) -> None:
    while True:
        newest = await get_last_message(connection, STREAM, JobSubjects(prefix).job(job_id))
        if newest is None:
            raise _not_found(prefix, job_id)
        if newest.sequence > after:
            return
        await asyncio.sleep(_POLL)


async def _read_events(connection: Connection, prefix: str, job_id: str, *, after: int) -> JobEvents:
    if not all(map(is_token, (*prefix.split("."), job_id))):
        raise _not_found(prefix, job_id)
    try:
        return await read_job_events(connection, prefix, job_id, after=after)
    except ApiError as error:
        if error.err_code != _NO_STREAM:
            raise
        raise _not_found(prefix, job_id) from None


def _build(prefix: str, job_id: str, messages: list[Incoming], *, is_cut: bool) -> JobHistory:
    history = build_history(prefix, job_id, messages, is_cut=is_cut)
    if history is None:
        raise _not_found(prefix, job_id)
    return history


def _not_found(prefix: str, job_id: str) -> JobNotFound:
    return JobNotFound(f'no job "{job_id}" is stored under {prefix}')
