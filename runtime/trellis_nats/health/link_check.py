"""Checks that the server answers on the connection."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._support.loop_timer import LoopTimer
from trellis_nats.health.report import CheckResult

__all__ = ["check_link"]

_PONG: Final = 2.0
"""Seconds. As long as `Connection.probe` waits."""
_LATE: Final = 0.25
"""Seconds; see `LoopTimer`."""


async def check_link(connection: Connection | None) -> CheckResult:
    """Ping the server. If it does not answer, let the connection probe its link and replace it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    error = "not connected" if connection is None else await _problem(connection)
    return CheckResult(
        name="nats", ok=error is None, latency=timedelta(seconds=loop.time() - began), error=error
    )


async def _problem(connection: Connection) -> str | None:
    link = connection.link
    if link is None:
        return "disconnected" if connection.refusal is None else f"disconnected: {connection.refusal}"
    loop = asyncio.get_running_loop()
    pong = link.ping()
    over = asyncio.Event()
    pong.add_done_callback(lambda _: over.set())
    timer = LoopTimer(over.set, late=_LATE, loop=loop)
    timer.start(loop.time() + _PONG)
    try:
        await over.wait()
    finally:
        timer.cancel()
    if not pong.done():
        connection.probe()
        return f"the server does not answer within {_PONG:g} s"
    return None if pong.result() else "disconnected"
