"""Compares the index of jobs on this machine with the stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._support.plural import plural

from trellis_admin.doctor.facts import Facts, ProjectionFacts
from trellis_admin.doctor.findings import Finding, Severity
from trellis_admin.projection import Database, catch_up, check_projection
from trellis_admin.session import default_database

__all__ = ["check_differences", "check_index"]

_SHOWN: Final = 3


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
