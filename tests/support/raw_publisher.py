"""Publishes bytes that no client library would send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from trellis_nats.testing import NatsServer

__all__ = ["RawPublisher", "raw_publisher"]

_CONNECT: Final = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'


class RawPublisher:
    """A connection that writes the protocol without checks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def publish(self, subject: bytes, data: bytes, *, reply: bytes = b"", headers: bytes = b"") -> None:
        """Queue a message; `headers` is the whole block, well formed or not."""
        if headers:
            sizes = b"%d %d" % (len(headers), len(headers) + len(data))
            self._writer.write(b"HPUB %b %b %b\r\n%b%b\r\n" % (subject, reply, sizes, headers, data))
        else:
            self._writer.write(b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(data), data))

    async def flush(self) -> None:
        """Wait until the server has read everything.

        Raises:
            ConnectionError: the server reported an error, or ended the connection.
        """
        self._writer.write(b"PING\r\n")
        await self._writer.drain()
        while (line := await self._reader.readline()) != b"PONG\r\n":
            if line == b"PING\r\n":
                self._writer.write(b"PONG\r\n")
            elif not line.startswith(b"INFO"):
                raise ConnectionError(line.decode(errors="replace"))


@asynccontextmanager
async def raw_publisher(server: NatsServer) -> AsyncGenerator[RawPublisher]:
    """Connect to a server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(_CONNECT)
        publisher = RawPublisher(reader, writer)
        await publisher.flush()
        yield publisher
    finally:
        writer.close()
