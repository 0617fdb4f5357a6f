"""A TCP proxy that fails on demand: cuts, goes silent in one or both directions, delays."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Literal, Self

from tests.support.listening import listening

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
        self._port: int | None = None
        self._listening = AsyncExitStack()
        self._open: dict[Direction, asyncio.Event] = {each: asyncio.Event() for each in _BOTH}
        self._writers: set[asyncio.StreamWriter] = set()
        self.heal()

    @property
    def url(self) -> str:
        """Where clients connect to."""
        if self._port is None:
            raise RuntimeError("the proxy has not been started")
        return f"nats://127.0.0.1:{self._port}"

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
        self._port = await self._listening.enter_async_context(listening(self._serve))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listening.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        line = self.accepted
        self._writers.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            self._writers.discard(writer)
            return
        self._writers.add(server_writer)
        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(self._pump("to_server", reader, server_writer, line))
            pumps.create_task(self._pump("to_client", server_reader, writer, line))

    def let_through(self, line: int, direction: Direction, chunk: bytes) -> bytes:
        """Return what is forwarded of what came on the n-th connection: all of it."""
        del line, direction
        return chunk

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
