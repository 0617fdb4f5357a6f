"""One TCP connection to one server, from its handshake until it breaks.

nats-py's client brings the handshake, authentication, TLS and the parser. Everything that keeps a connection alive is
switched off or replaced here, because it can go deaf or end for ever (each has a test in tests/integration/nats):

* a timed-out flush kills the reader while `is_connected` stays true (nats.py issue 914): `_process_pong` is guarded,
  and a reader that ends for any reason ends the link;
* reconnecting hangs while unsent bytes wait (issue 671), and any unknown `-ERR` closes the client for ever (issues 193
  and 1019): a link never mends itself; the supervisor builds a new one;
* publishing buffers while disconnected, so that a timed-out write appears later: a broken link takes nothing;
* publishing waits for the socket without limit and swallows cancellation: writes go through `send`, which never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, cast

from nats.aio.client import Client, Srv
from nats.errors import Error

from trellis_nats._nats.link.server_info import ServerInfo, read_info
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.link.transport import LinkTransport
from trellis_nats._nats.wire.message import Message, read_message

__all__ = ["Link", "Routes", "settled"]

Routes = Mapping[int, Callable[[Message], None]]
"""Subscription number → who gets its messages. None of them may raise."""

_log = logging.getLogger(__name__)

_READ_BUFFER_BYTES: Final = 32768  # nats-py's own size
_WRITE_BYTES: Final = 16 * 1024
"""So much is written at once, without waiting for the turn to end: the server works on it meanwhile."""
_HIGH_WATER_BYTES: Final = 1024 * 1024
"""`writable` waits above it: a tenth of a second of a 100 Mbit/s line."""
_LATE: Final = 0.1
"""Seconds. A timer this late means that the loop was blocked, and that input may wait unread."""
_HARMLESS: Final = ("invalid subject", "invalid publish subject", "maximum subscriptions exceeded")
"""Errors after which a server keeps the connection."""


class Link(Client):
    """A connection that lives once. `lost` tells when and why it ended."""

    def __init__(
        self,
        routes: Routes,
        settings: ConnectionSettings,
        on_denied: Callable[[str], None],
        *,
        require_tls: bool,
    ) -> None:
        super().__init__()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the link has ended; the result says why."""
        self._routes = routes
        self._settings = settings
        self._on_denied = on_denied
        self._require_tls = require_tls
        self._wire = LinkTransport()
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._awaited_pongs: deque[asyncio.Future[bool]] = deque()
        self._silent_pings = 0

    @property
    def info(self) -> ServerInfo:
        """What the server told about itself."""
        return read_info(cast("Mapping[str, object]", self._server_info))

    @property
    def usable(self) -> bool:
        """Whether something may be sent."""
        return not self.lost.done()

    async def open(self, address: str, options: Mapping[str, object]) -> None:
        """Connect and authenticate; `options` are those of nats-py.

        Raises:
            OSError: the server cannot be reached, or TLS failed.
            nats.errors.Error: the server refused, for instance the credentials.
            ValueError: the greeting is too long.
        """
        connect = cast("Callable[..., Any]", self.connect)  # pyright: ignore[reportExplicitAny] - options are data here
        await connect(address, allow_reconnect=False, error_cb=_ignore, **options)
        reader = self._tasks()[0]
        if reader is not None:
            reader.add_done_callback(lambda _: self.shut("the reader ended"))
        if not self.is_connected:
            # A second INFO came before the PONG of the handshake, which is therefore still to come.
            self._awaited_pongs.appendleft(asyncio.get_running_loop().create_future())

    def shut(self, reason: str) -> None:
        """End the link at once, whatever waits. Harmless when it has ended."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        self._status = Client.CLOSED
        for task in self._tasks():
            if task is not None:
                task.cancel()
        self._wire.abort()
        while self._awaited_pongs:
            _settle(self._awaited_pongs.popleft(), answered=False)

    def _tasks(self) -> tuple[asyncio.Task[None] | None, ...]:
        """Return nats-py's tasks, the reader first; it leaves their type open."""
        tasks = (self._reading_task, self._ping_interval_task, self._flusher_task)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - see above
        return cast("tuple[asyncio.Task[None] | None, ...]", tasks)

    # --- writing ---------------------------------------------------------------------------------------------------

    def send(self, command: bytes) -> None:
        """Queue a protocol command. What is queued in one turn of the loop leaves in few writes."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._write_out)
        self._outgoing.append(command)
        self._outgoing_bytes += len(command)
        if self._outgoing_bytes >= _WRITE_BYTES:
            self._write_out()

    @property
    def is_roomy(self) -> bool:
        """Whether the socket has taken most of what was sent."""
        return self._outgoing_bytes + self._wire.unsent_bytes < _HIGH_WATER_BYTES

    async def writable(self) -> None:
        """Wait until the socket has taken most of what was sent. Returns too when the link ends."""
        if self.is_roomy or not self.usable:
            return
        self._write_out()
        try:
            await self._wire.sent()
        except OSError as error:
            self.shut(f"writing failed: {error}")

    def _write_out(self) -> None:
        if self._outgoing and self.usable:
            self._wire.send(b"".join(self._outgoing))
        self._outgoing.clear()
        self._outgoing_bytes = 0

    # --- liveness --------------------------------------------------------------------------------------------------

    def ping(self) -> asyncio.Future[bool]:
        """Ask for a sign of life: True when the server has read all that was sent before, False when the link ended."""
        if not self.usable:
            return settled(answered=False)
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._awaited_pongs.append(pong)
        self.send(b"PING\r\n")
        return pong

    def probe(self, limit: timedelta) -> None:
        """Ping now, and end the link when no answer comes within `limit`."""
        self._expect(self.ping(), limit.total_seconds())

    def _expect(self, pong: asyncio.Future[bool], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds

        def judge() -> None:
            if pong.done():
                return
            if loop.time() - due > _LATE:
                self._expect(pong, _LATE)
            else:
                self.shut("the server does not answer")

        loop.call_at(due, judge)

    async def _ping_interval(self) -> None:
        while True:
            await asyncio.sleep(self._settings.ping_interval.total_seconds())
            if self._silent_pings >= self._settings.max_outstanding_pings:
                self.shut("the server does not answer pings")
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
        self._wire.bound_silence(self._settings.ping_interval * self._settings.max_outstanding_pings)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # pyright: ignore[reportExplicitAny] - nats-py's signature
        if initial_connection and self._require_tls and not info.get("tls_required"):
            # Here nothing has been sent yet; nats-py would go on and send the password in the clear.
            raise Error("the server does not offer TLS")
        if not initial_connection:
            self._server_info.update(info)

    async def _process_msg(
        self,
        sid: int,
        subject: bytes,
        reply: bytes,
        data: bytes,
        headers: bytes | None,  # pyright: ignore[reportIncompatibleMethodOverride] - the parser passes None, the annotation of nats-py forgot it
    ) -> None:
        route = self._routes.get(sid)
        if route is not None:
            route(read_message(subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.send(b"PONG\r\n")

    async def _process_pong(self) -> None:
        self._silent_pings = 0
        if self._awaited_pongs:
            _settle(self._awaited_pongs.popleft(), answered=True)

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" in err_msg:
            self._on_denied(err_msg)
        elif any(harmless in err_msg for harmless in _HARMLESS):
            _log.warning("the server complains: %s", err_msg)
        else:
            self.shut(f"the server said {err_msg}")

    async def _process_op_err(self, e: Exception) -> None:
        self.shut(str(e) or type(e).__name__)

    async def _flusher(self) -> None:
        """Do nothing: `send` flushes."""


def settled(*, answered: bool) -> asyncio.Future[bool]:
    """Return a pong that is known already."""
    pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    pong.set_result(answered)
    return pong


def _settle(pong: asyncio.Future[bool], *, answered: bool) -> None:
    # Its awaiter may have given up: setting a result then would raise in nats-py's reader and kill it (issue 914).
    if not pong.done():
        pong.set_result(answered)


async def _ignore(_: Exception) -> None:
    """Errors reach us as exceptions or through `lost`."""
