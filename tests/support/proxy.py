"""A TCP proxy that fails on demand: cuts, goes silent in one or both directions, delays."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Final, Literal, Self

Direction = Literal["to_server", "to_client"]

_CHUNK_BYTES: Final = 65536
_BOTH: Final[tuple[Direction, ...]] = ("to_server", "to_client")


class Proxy:
    """Stands between clients and one server on loopback. Use it as `async with`."""

    def __init__(self, server_port: int) -> None:
        self.delay = 0.0
        """Seconds that every chunk waits, in each direction."""
        self.accepted = 0
        """How many connections there have been."""
        self.sent_to_server = bytearray()
        """Everything that was forwarded to the server."""
        self._server_port = server_port
        self._listener: asyncio.Server | None = None
        self._open: dict[Direction, asyncio.Event] = {each: asyncio.Event() for each in _BOTH}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.heal()

    @property
    def url(self) -> str:
        """Where clients connect to."""
        if self._listener is None:
            raise RuntimeError("the proxy has not been started")
        return f"nats://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection. New ones are accepted."""
        for writer in list(self._writers):
            writer.transport.abort()

    def blackhole(self, *directions: Direction) -> None:
        """Forward nothing from now on, by default in both directions; nothing is lost, as in a partition."""
        for direction in directions or _BOTH:
            self._open[direction].clear()

    def heal(self) -> None:
        """Forward again, first what was held back."""
        for gate in self._open.values():
            gate.set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        line = self.accepted
        self._writers.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(server_writer)
        self._start(self._pump("to_server", reader, server_writer, line))
        self._start(self._pump("to_client", server_reader, writer, line))

    def let_through(self, line: int, direction: Direction, chunk: bytes) -> bytes:
        """Return what is forwarded of what came on the n-th connection: all of it."""
        del line, direction
        return chunk

    def _start(self, pump: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(pump)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: int
    ) -> None:
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._open[direction].wait()
                if direction == "to_server":
                    self.sent_to_server += chunk
                writer.write(self.let_through(line, direction, chunk))
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
