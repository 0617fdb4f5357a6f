"""The TCP connection below a link: nats-py's transport, which can also be aborted."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from typing import cast
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport
from typing_extensions import override

from trellis_nats._support.forked_child import drop_descriptor
from trellis_nats._support.tcp import connect_tcp
from trellis_nats.clock import to_milliseconds

__all__ = ["LinkTransport"]


class LinkTransport(TcpTransport):
    """nats-py's TCP transport, whose `close` waits for unsent bytes; `abort` does not (nats.py issue 671)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nats-py forgot the annotation

    @override
    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connect, without asyncio's pool of threads. The caller has a limit of its own."""
        sock = await connect_tcp(uri.hostname or "", uri.port or 0)
        reader, writer = await asyncio.open_connection(sock=sock, limit=buffer_size)
        self._bare_io_reader = self._io_reader = reader
        self._bare_io_writer = self._io_writer = writer

    @property
    def unsent_bytes(self) -> int:
        """How many bytes the operating system has not taken yet."""
        writer = self._writer()
        return 0 if writer is None else writer.transport.get_write_buffer_size()

    def bound_silence(self, limit: timedelta) -> None:
        """Let the kernel end the connection when sent bytes stay unacknowledged for this long. Linux only."""
        sock = self._socket()
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, to_milliseconds(limit))

    def drop_socket(self) -> None:
        """Close the socket in a forked child: the connection belongs to the parent, and the server must see its end."""
        sock = self._socket()
        if sock is not None and sock.fileno() >= 0:
            drop_descriptor(sock.fileno())

    def send(self, data: bytes) -> None:
        """Pass bytes to the operating system, or buffer them until it takes them."""
        writer = self._writer()
        if writer is not None:
            writer.write(data)

    async def drain(self) -> None:
        """Wait until the operating system has taken most of the buffer.

        Raises:
            OSError: the connection ended.
        """
        writer = self._writer()
        if writer is not None:
            await writer.drain()

    def abort(self) -> None:
        """End the connection immediately; unsent bytes are lost."""
        writer = self._writer()
        if writer is not None:
            writer.transport.abort()
            writer.close()

    def _socket(self) -> socket.socket | None:
        writer = self._writer()
        return None if writer is None else cast("socket.socket | None", writer.get_extra_info("socket"))

    def _writer(self) -> asyncio.StreamWriter | None:
        return self._io_writer
