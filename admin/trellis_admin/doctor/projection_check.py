"""Reads the index of jobs on this machine, and compares it with the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._support.plural import plural
from trellis_nats.clock import now

from trellis_admin.doctor.facts import Facts, IndexFacts, ProjectionFacts
from trellis_admin.doctor.findings import Finding, Severity
from trellis_admin.projection import Database, catch_up, check_projection, connect_reader
from trellis_admin.projection.follower import Progress, ignore_progress
from trellis_admin.queries import count_stale, find_version_waits, read_overview
from trellis_admin.session import default_database

__all__ = ["check_differences", "check_index", "read_index"]

_SHOWN: Final = 3
_LATELY: Final = timedelta(days=1)
_WINDOW: Final = timedelta(hours=1)
"""For how long a job usually runs."""


async def read_index(
    connection: Connection, path: Path | None, progress: Progress = ignore_progress
) -> IndexFacts:
    """Bring the index up to date, and ask it.

    Args:
        connection: to the server.
        path: its file; None for the one of the account.
        progress: called from time to time with how many events are read, and how many there were to read.

    Raises:
        ProjectionProblem: the file cannot be used.
        PermissionDenied: the account may not read the stream.
        TransportError: the server does not answer.
    """
    path = await default_database(connection) if path is None else path
    database = Database.open(path)
    try:
        await catch_up(connection, database, progress=progress)
    finally:
        database.close()

    def ask() -> IndexFacts:
        with closing(connect_reader(path)) as reader:
            at = now()
            return IndexFacts(
                stale_lately=count_stale(reader, at - _LATELY),
                version_waits=tuple(find_version_waits(reader, at)),
                attention=read_overview(reader, _WINDOW, at).attention,
            )

    return await asyncio.to_thread(ask)


async def check_index(connection: Connection, path: Path | None) -> ProjectionFacts:
    """Bring the index up to date, and compare a sample of it.

    Raises:
        ProjectionProblem: the file cannot be used.
        TransportError: the server does not answer.
    """
    path = await default_database(connection) if path is None else path
    database = Database.open(path)
    try:
        await catch_up(connection, database)
    finally:
        database.close()
    checked = await check_projection(connection, path)
    return ProjectionFacts(
        path=path,
        compared=checked.jobs,
        differences=tuple(f"{difference.job}: {difference.text}" for difference in checked.differences),
        number=len(checked.differences) + checked.more,
    )


def check_differences(facts: Facts) -> Iterator[Finding]:
    """The index says something else than the stream."""
    index = facts.projection
    if index is not None and index.number:
        shown = index.differences[:_SHOWN]
        more = " …" if index.number > len(shown) else ""
        yield Finding(
            check="projection-differs",
            severity=Severity.WARNING,
            subject=str(index.path),
            text=f"the index of jobs on this machine differs from the stream in {plural(index.number, 'place')} of {plural(index.compared, 'job')} "
            f"that were compared: {'; '.join(shown)}{more}",
            remedy="delete the file: it is read again from the stream; and report it, because it should not happen",
        )
