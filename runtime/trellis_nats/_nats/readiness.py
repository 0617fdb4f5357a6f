"""What an operation waits for within its deadline: the connection, its socket, an election."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trellis_nats.errors import NotConnected

if TYPE_CHECKING:
    from trellis_nats._nats.connection import Connection

__all__ = ["outlast_election", "wait_ready"]

_PAUSE: Final = timedelta(milliseconds=100)
"""An election takes 4 to 9 s (faults.md, C3); the pause is what is added to it at most."""


async def wait_ready(connection: Connection, due: float, subject: str) -> None:
    """Wait until a message can be sent, until the loop's time `due` at most.

    Raises:
        NotConnected: there was no connection in time, or its socket stayed full, or it was closed.
    """
    try:
        async with asyncio.timeout_at(due):
            await connection.wait_connected()
            await connection.writable()
    except TimeoutError:
        raise NotConnected(
            f'no connection to {connection.address}; nothing was sent to "{subject}"'
        ) from None


async def outlast_election(connection: Connection, due: float) -> bool:
    """After "no responders", wait a moment if a cluster may be electing a leader and time is left; say whether.

    A server that stands alone elects nobody: there the stream or consumer is missing, and that is told at once.
    """
    if connection.server_count == 1 or connection.loop.time() + _PAUSE.total_seconds() > due:
        return False
    await asyncio.sleep(_PAUSE.total_seconds())
    return True
