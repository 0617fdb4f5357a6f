"""Removes a job from the projection that was purged by hand: no message of the stream says so."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import count_by_subject
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects

from trellis_admin.projection.database import Database
from trellis_admin.projection.writer import Writer

__all__ = ["forget_if_purged"]


async def forget_if_purged(connection: Connection, database: Path, prefix: str, job_id: str) -> bool:
    """Remove a job from the projection if the stream does not have it any more, and return whether it was removed.

    For a job that is listed, but whose history is not found. The leader of the stream is asked: a replica may be late.

    Args:
        connection: to the server.
        database: the file of the projection.
        prefix: the publish prefix of its queue.
        job_id: its id.

    Raises:
        ProjectionProblem: the file cannot be used.
        PermissionDenied: the account may not look up the stream.
        TransportError: the server does not answer.
    """
    if await count_by_subject(connection, STREAM, JobSubjects(prefix).job(job_id)):
        return False
    return await asyncio.to_thread(_forget, database, prefix, job_id)


def _forget(path: Path, prefix: str, job_id: str) -> bool:
    with closing(Database.open(path)) as database:
        created = database.connection.execute(
            "SELECT created_seq FROM job JOIN queue ON number = queue WHERE id = ? AND prefix = ?",
            (job_id, prefix),
        ).fetchall()
        return bool(created) and Writer(database).drop_jobs([sequence for (sequence,) in created]) > 0
