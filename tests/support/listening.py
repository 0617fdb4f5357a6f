"""A TCP server for a test, on loopback, that leaves no socket open when its block ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["Serve", "listening"]

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_LOOP_STEPS: Final = 5
"""asyncio needs three steps of the loop from `accept` to the first call of the server's function, and one to close a transport."""


@asynccontextmanager
async def listening(serve: Serve, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """Serve each connection in a task of its own, and yield the port; the end of the block resets what is open.

    `asyncio.start_server` alone does not: a connection that is accepted while the loop closes is never closed, and its
    `ResourceWarning` fails whichever test runs next.
    """
    serving: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except OSError:
            pass
        finally:
            writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        task = asyncio.create_task(serve_one(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    listener = await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await _take_steps()
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)
        for writer in writers:  # the task of some was cancelled before its first step
            writer.transport.abort()
        await _take_steps()


async def _take_steps() -> None:
    for _ in range(_LOOP_STEPS):
        await asyncio.sleep(0)
