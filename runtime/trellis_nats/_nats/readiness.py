"""Waits until an operation can be sent: for the connection, for space in its socket, for JetStream."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats.errors import NotConnected

__all__ = ["wait_jetstream", "wait_ready"]

_PAUSE: Final = timedelta(milliseconds=100)
"""The pause between two attempts during an election, which takes 4 to 9 s (faults.md, C3)."""
_STOPS_WITHIN: Final = timedelta(seconds=1)
"""A server that was sent SIGTERM has ended JetStream and still answers for some milliseconds, longer on a busy machine."""


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


async def wait_jetstream(connection: Connection, due: float, absent_since: float) -> bool:
    """After "no responders", wait 100 ms and return True if JetStream may be back and time is left.

    A cluster may be electing a leader. A standalone server that stops ends JetStream first, and its connections later:
    in lame duck mode it announces that, else the connection ends within a moment. `absent_since` is the loop time of the
    first "no responders". On a standalone server that stays, the stream or consumer is missing, and the caller can fail.
    """
    now = connection.loop.time()
    may_be_back = (
        connection.server_count > 1
        or connection.is_server_stopping
        or now - absent_since < _STOPS_WITHIN.total_seconds()
    )
    if not may_be_back or now + _PAUSE.total_seconds() > due:
        return False
    await asyncio.sleep(_PAUSE.total_seconds())
    return True
