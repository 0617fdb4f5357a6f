"""One TCP connection to one server, from its handshake until it breaks.

nats-py's client provides the handshake, authentication and TLS. Its parser, and what it does to keep a connection alive,
are switched off or replaced here, because it can stop receiving or never reconnect (each case has a test in
tests/integration/nats):

* a flush that times out kills the reader while `is_connected` stays true (nats.py issue 914): a pong that
  is not awaited is ignored, and when the reader ends, the link ends;
* reconnecting hangs while unsent bytes wait (issue 671), and any unknown `-ERR` closes the client permanently (issues
  193 and 1019): a link never reconnects; the supervisor opens a new one;
* a subject with a vertical tab or a form feed, which servers pass on, ends the connection: `IncomingCommands` parses;
* publishing buffers while disconnected, so that a write that timed out is sent later: a broken link accepts nothing;
* publishing waits for the socket without limit and swallows cancellation: writes go through `send`, which never waits.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, cast

from nats.aio.client import Client, Srv
from nats.errors import Error
from nats.protocol.parser import Parser
from typing_extensions import override

from trellis_nats._nats.link.server_info import ServerInfo, parse_info
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.link.transport import LinkTransport
from trellis_nats._nats.wire.incoming import IncomingCommands
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.forked_child import in_forked_children
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.loop_timer import LoopTimer

__all__ = ["Link", "Routes", "resolved_pong"]

Routes = Mapping[int, Callable[[Message], None]]
"""Subscription number → callback for its messages. A callback must not raise."""

_log = logging.getLogger(__name__)

_READ_BUFFER_BYTES: Final = 32768  # nats-py's own size
_WRITE_BYTES: Final = 16 * 1024
"""From this many queued bytes on, `send` writes at once and not at the end of the turn, so that the server starts on them."""
_HIGH_WATER_BYTES: Final = 1024 * 1024
"""`wait_writable` waits above it: a tenth of a second of a 100 Mbit/s line."""
_LATE: Final = 0.1
"""Seconds; see `LoopTimer`."""
_HARMLESS: Final = ("invalid subject", "invalid publish subject", "maximum subscriptions exceeded")
"""Errors after which a server keeps the connection."""


class Link(Client):
    """A connection that is opened once. `lost` is done when it ends, with the reason."""

    def __init__(
        self,
        routes: Routes,
        settings: ConnectionSettings,
        on_permission_error: Callable[[str], None],
        *,
        require_tls: bool,
    ) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()  # looking it up takes a system call before Python 3.12
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Done when the link has ended; the result is the reason."""
        self.is_usable = True
        """Whether the link has not ended."""
        self._routes = routes
        self._settings = settings
        self._on_permission_error = on_permission_error
        self._require_tls = require_tls
        self._wire = LinkTransport()
        self._ps = _LinkParser(self)
        self._keep_in_children: Callable[[], None] | None = None
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._is_backed_up = False
        """Whether the socket did not take all of the last write. Asking for the rest costs as much as encoding a message."""
        self._awaited_pongs: deque[asyncio.Future[bool]] = deque()
        self._silent_pings = 0
        self._reads = 0
        """How often something arrived."""

    @property
    def info(self) -> ServerInfo:
        """What the server reports about itself."""
        return parse_info(cast("Mapping[str, object]", self._server_info))

    async def open(self, address: str, options: Mapping[str, object]) -> None:
        """Connect and authenticate; `options` are those of nats-py.

        Raises:
            OSError: the server cannot be reached, or TLS failed.
            nats.errors.Error: the server refused the connection, for example the credentials.
            ValueError: the server's INFO is too long.
        """
        connect = cast("Callable[..., Any]", self.connect)  # pyright: ignore[reportExplicitAny] - options are data here
        await connect(address, allow_reconnect=False, error_cb=_ignore, **options)
        reader = self._tasks()[0]
        if reader is not None:
            reader.add_done_callback(lambda _: self.shut("the reader ended"))
        if not self.is_connected:
            # A second INFO arrived before the PONG of the handshake, which is still to come.
            self._awaited_pongs.appendleft(asyncio.get_running_loop().create_future())

    def shut(self, reason: str) -> None:
        """End the link immediately, without sending what is queued. Safe to call twice."""
        if not self.is_usable:
            return
        self.is_usable = False
        self.lost.set_result(reason)
        self._status = Client.CLOSED
        for task in self._tasks():
            if task is not None:
                task.cancel()
        if self._keep_in_children is not None:
            self._keep_in_children()
        self._wire.abort()
        while self._awaited_pongs:
            _resolve(self._awaited_pongs.popleft(), answered=False)

    def _tasks(self) -> tuple[asyncio.Task[None] | None, ...]:
        """Return nats-py's tasks, the reader first; nats-py does not annotate them."""
        tasks = (self._reading_task, self._ping_interval_task, self._flusher_task)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - see above
        return cast("tuple[asyncio.Task[None] | None, ...]", tasks)

    # --- writing ---------------------------------------------------------------------------------------------------

    def send(self, command: bytes) -> None:
        """Queue a protocol command. The commands of one turn of the loop are written together."""
        if not self._outgoing:
            self._loop.call_soon(self._write_out)
        self._outgoing.append(command)
        self._outgoing_bytes += len(command)
        if self._outgoing_bytes >= _WRITE_BYTES:
            self._write_out()

    @property
    def is_writable(self) -> bool:
        """Whether less than 1 MiB waits for the socket."""
        unsent_bytes = self._wire.unsent_bytes if self._is_backed_up else 0
        return self._outgoing_bytes + unsent_bytes < _HIGH_WATER_BYTES

    async def wait_writable(self) -> None:
        """Wait until the socket has taken most of what was sent, or the link ends."""
        if self.is_writable or not self.is_usable:
            return
        self._write_out()
        try:
            await self._wire.drain()
        except OSError as error:
            self.shut(f"writing failed: {error}")

    def _write_out(self) -> None:
        if self._outgoing and self.is_usable:
            self._wire.send(b"".join(self._outgoing))
            self._is_backed_up = self._wire.unsent_bytes > 0
        self._outgoing.clear()
        self._outgoing_bytes = 0

    # --- liveness --------------------------------------------------------------------------------------------------

    def ping(self) -> asyncio.Future[bool]:
        """Ping the server. The result is True when it has read all that was sent before, False when the link ended."""
        if not self.is_usable:
            return resolved_pong(answered=False)
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._awaited_pongs.append(pong)
        self.send(b"PING\r\n")
        return pong

    def probe(self, limit: timedelta) -> None:
        """Ping the server, and end the link when nothing arrives within `limit`.

        The answer stands behind all messages that the server has sent: a flood of them must not cost the connection.
        """
        pong, reads = self.ping(), self._reads
        loop = asyncio.get_running_loop()

        def end_if_silent() -> None:
            nonlocal reads
            if pong.done():
                return
            if self._reads == reads:
                self.shut("the server did not answer a ping")
                return
            reads = self._reads
            timer.start(loop.time() + limit.total_seconds())

        timer = LoopTimer(end_if_silent, late=_LATE, loop=loop)
        timer.start(loop.time() + limit.total_seconds())

    async def _ping_interval(self) -> None:
        while True:
            await asyncio.sleep(self._settings.ping_interval.total_seconds())
            if self._silent_pings >= self._settings.max_outstanding_pings:
                self.shut("the server did not answer pings")
                return
            self._silent_pings += 1
            self.ping()

    # --- what nats-py calls ----------------------------------------------------------------------------------------

    async def _select_next_server(self) -> None:
        server = self._server_pool[0]
        await self._connect_to_server(server)
        self._current_server = server

    async def _connect_to_server(self, s: Srv) -> None:
        self._transport = self._wire
        limit = self._settings.connect_timeout.total_seconds()
        await self._wire.connect(s.uri, buffer_size=_READ_BUFFER_BYTES, connect_timeout=cast("int", limit))
        self._keep_in_children = in_forked_children(self._wire.drop_socket)
        self._wire.bound_silence(self._settings.ping_interval * self._settings.max_outstanding_pings)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # pyright: ignore[reportExplicitAny] - nats-py's signature
        if initial_connection and self._require_tls and not info.get("tls_required"):
            # Nothing has been sent yet; nats-py would go on and send the password unencrypted.
            raise Error("the server does not offer TLS")

    async def _process_op_err(self, e: Exception) -> None:
        self.shut(str(e) or type(e).__name__)

    async def _flusher(self) -> None:
        """Replace nats-py's flusher, which has nothing to do: `send` writes."""

    # --- what the parser calls -------------------------------------------------------------------------------------

    def on_read(self) -> None:
        """Note that something arrived: the server is there."""
        self._reads += 1
        self._silent_pings = 0

    def on_message(self, number: int, message: Message) -> None:
        """Pass a message to its subscription."""
        route = self._routes.get(number)
        if route is not None:
            route(message)

    def on_command(self, name: bytes, text: str) -> None:
        """Take another command of the server."""
        match name:
            case b"PING":
                self.send(b"PONG\r\n")
            case b"PONG":
                if self._awaited_pongs:
                    _resolve(self._awaited_pongs.popleft(), answered=True)
            case b"INFO":
                self._server_info.update(json.loads(text))
            case b"-ERR":
                self._on_error(text.lower())
            case b"+OK":
                pass
            case _:
                self.shut(f"the server sent the unknown command {name[:80]!r}")

    def _on_error(self, text: str) -> None:
        if "permissions violation" in text:
            self._on_permission_error(text)
        elif any(harmless in text for harmless in _HARMLESS):
            _log.warning("the server reports: %s", text, extra=log_fields(LogEvent.SERVER_ERROR))
        else:
            self.shut(f"the server reported {text}")


class _LinkParser(Parser):
    """Stands in for nats-py's parser."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)  # pyright: ignore[reportUnknownMemberType] - nats-py does not annotate it
        self._link = link
        self._commands = IncomingCommands(link)

    @override
    async def parse(self, data: bytes = b"") -> None:
        self._link.on_read()
        try:
            self._commands.feed(data)
        except (ValueError, IndexError) as error:
            self._link.shut(f"the server sent what cannot be read: {error}")


def resolved_pong(*, answered: bool) -> asyncio.Future[bool]:
    """Return the result of a ping that is already known."""
    pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    pong.set_result(answered)
    return pong


def _resolve(pong: asyncio.Future[bool], *, answered: bool) -> None:
    # The waiter may be cancelled: setting a result would then raise in nats-py's reader and kill it (issue 914).
    if not pong.done():
        pong.set_result(answered)


async def _ignore(_: Exception) -> None:
    """Errors are reported as exceptions or through `lost`."""
