"""Reads stream JOBS into the projection: once up to its end, or as long as it is asked to."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from trellis_nats._nats.connection import Connection

from trellis_admin.projection.database import Database

__all__ = ["CaughtUp", "Progress", "catch_up", "follow", "ignore_progress"]

Progress = Callable[[int, int], None]
"""Called after each page with how many events were read and how many there were to read when reading began."""


class CaughtUp(NamedTuple):
    """What was read."""

    sequence: int
    """The projection has every event up to this one."""
    events: int
    was_rebuilt: bool
    """Whether the file was emptied first, because the stream was rolled back or made again."""


def ignore_progress(_done: int, _total: int) -> None:
    """Show nothing."""


async def catch_up(
    connection: Connection, database: Database, *, progress: Progress = ignore_progress
) -> CaughtUp:
    """Read what the stream holds and the projection does not have yet. A stream that does not exist holds nothing.

    Several processes may do so at the same time with the same file.

    Args:
        connection: to the server.
        database: the file.
        progress: called from time to time.

    Raises:
        PermissionDenied: the account may not read the stream.
        TransportError: the server does not answer.
    """
    raise NotImplementedError


async def follow(
    connection: Connection, database: Database, *, changed: Callable[[int], None] = lambda _: None
) -> None:
    """Catch up, and keep the projection up to date until cancelled, through outages.

    Args:
        connection: to the server.
        database: the file. It is used in this thread only.
        changed: called with the sequence after each transaction.

    Raises:
        PermissionDenied: the account may not read the stream.
    """
    raise NotImplementedError
