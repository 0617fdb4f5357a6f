"""Waits until an operation can be sent: for the connection, for space in its socket, for a leader election."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats.errors import NotConnected

__all__ = ["wait_election", "wait_ready"]

_PAUSE: Final = timedelta(milliseconds=100)
"""The pause between two attempts during an election, which takes 4 to 9 s (faults.md, C3)."""


async def wait_ready(connection: Connection, due: float, subject: str) -> None:
    """Wait until a message can be sent, at most until the loop time `due`.

    Raises:
        NotConnected: the connection was down, its socket full, or it was closed.
    """
    try:
        async with asyncio.timeout_at(due):
            await connection.wait_connected()
            await connection.wait_writable()
    except TimeoutError:
        raise NotConnected(
            f'no connection to {connection.address}; nothing was sent to "{subject}"'
        ) from None


async def wait_election(connection: Connection, due: float) -> bool:
    """After "no responders", wait 100 ms and return True if a cluster may be electing a leader and time is left.

    A standalone server elects no leader: there the stream or consumer is missing, and the caller can fail at once.
    """
    if connection.server_count == 1 or connection.loop.time() + _PAUSE.total_seconds() > due:
        return False
    await asyncio.sleep(_PAUSE.total_seconds())
    return True
