"""Whether the server answers on the connection now."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats.health.report import CheckResult

__all__ = ["check_link"]

_PONG: Final = 2.0
"""Seconds. As long as the connection itself waits when it doubts its link."""
_LATE: Final = 0.25
"""Seconds. A timer this late means that the loop was blocked, and that the answer may wait unread in the socket."""


async def check_link(connection: Connection | None) -> CheckResult:
    """Ping the server. A link that does not answer is doubted: it is replaced if it goes on like that."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    error = "not connected" if connection is None else await _problem(connection)
    return CheckResult(
        name="nats", ok=error is None, latency=timedelta(seconds=loop.time() - began), error=error
    )


async def _problem(connection: Connection) -> str | None:
    link = connection.link
    if link is None:
        return "disconnected"
    loop = asyncio.get_running_loop()
    pong = link.ping()
    due = loop.time() + _PONG
    await asyncio.wait((pong,), timeout=_PONG)
    if not pong.done() and loop.time() - due > _LATE:
        await asyncio.wait((pong,), timeout=_LATE)
    if not pong.done():
        connection.suspect()
        return f"the server does not answer within {_PONG:g} s"
    return None if pong.result() else "disconnected"
