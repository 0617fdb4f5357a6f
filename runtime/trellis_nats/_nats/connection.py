"""A connection that outlives servers, networks and nats-py's client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from functools import partial
from typing import Final

from nats.nuid import NUID

from trellis_nats._nats.callbacks import Callbacks
from trellis_nats._nats.link.link import Link
from trellis_nats._nats.link.server_info import ServerInfo
from trellis_nats._nats.link.servers import ServerPool, parse_servers
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.permission_errors import PermissionErrors, PermissionViolation
from trellis_nats._nats.replies import Exchange, Replies
from trellis_nats._nats.request import ask
from trellis_nats._nats.subscriptions import Subscription, Subscriptions
from trellis_nats._nats.supervisor import Supervisor
from trellis_nats._nats.wire.message import Message
from trellis_nats._nats.wire.outgoing import encode_publish
from trellis_nats.errors import NotConnected, RequestTimeout

__all__ = ["Connection", "Subscription"]

_CLOSE_FLUSH: Final = timedelta(seconds=2)
_FLUSH: Final = timedelta(seconds=5)
_PROBE: Final = timedelta(seconds=2)


class Connection:
    """One logical connection: links come and go below it, subscriptions and waiting requests stay.

    Not thread-safe: it belongs to the event loop in which it was opened.
    """

    def __init__(self, pool: ServerPool, settings: ConnectionSettings) -> None:
        self.settings = settings
        """What it takes to connect once more, to the same servers with the same credentials."""
        self.address = settings.servers[0]
        """The first server; without credentials."""
        self.loop: Final = asyncio.get_running_loop()
        """Where it was opened; to ask for the running loop takes a system call before Python 3.12."""
        self._names = NUID()
        self._subscriptions = Subscriptions()
        self._replies = Replies(self.new_inbox(), self.loop)
        self._subscriptions.add(self._replies.subject, "", self._replies.on_message)
        self._denials = PermissionErrors(
            self._replies.on_denied, partial(self._subscriptions.refused, live=lambda: self.link)
        )
        self._up = Callbacks()
        self._down = Callbacks()
        self._closed = False
        self._info = ServerInfo()
        self._was_up = False
        self._supervisor = Supervisor(
            pool,
            settings,
            routes=self._subscriptions.routes,
            on_up=self._on_up,
            on_down=self._on_down,
            on_denied=self._denials.hear,
        )

    @classmethod
    async def open(cls, url: str, *, settings: ConnectionSettings) -> Connection:
        """Connect for the first time. From then on the connection is mended for ever, until `close`.

        Raises:
            CannotConnect: no server was reached within `connect_timeout`, or one refused for good.
            PermissionDenied: the account may not subscribe to its own inbox.
            ConfigurationError: an address is malformed, or a needed package is missing.
        """
        connection = cls(*parse_servers(url, settings))
        try:
            await connection._supervisor.start()
            await connection.flush()
        except BaseException:
            await connection._supervisor.stop()
            raise
        return connection

    async def close(self) -> None:
        """Send what is queued, for 2 s at most, and end. Waiting requests fail. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        link = self._supervisor.link
        try:
            if link is not None:
                await asyncio.wait([link.ping()], timeout=_CLOSE_FLUSH.total_seconds())
        finally:
            self._replies.close()
            self._subscriptions.stop()
            await self._supervisor.stop()
            self._supervisor.connected.set()  # wakes who waits for a connection, to be told

    # --- state -----------------------------------------------------------------------------------------------------

    @property
    def link(self) -> Link | None:
        """The link in use; None while there is none."""
        link = self._supervisor.link
        return link if link is not None and link.usable else None

    @property
    def is_connected(self) -> bool:
        """Whether there is a link now, as far as anyone can know."""
        return self.link is not None

    @property
    def server_version(self) -> tuple[int, int, int]:
        """The version of the server last connected to."""
        return self._info.version

    @property
    def max_payload(self) -> int:
        """The most bytes that the server takes in one message, headers included."""
        return self._info.max_payload_bytes

    @property
    def server_count(self) -> int:
        """How many servers the cluster has, as the server tells; 1 when it stands alone."""
        return max(1, len(self._info.cluster_hosts))

    @property
    def awaited_answers(self) -> int:
        """How many requests and publishes wait for their answer."""
        return len(self._replies)

    async def wait_connected(self) -> None:
        """Wait until there is a link.

        Raises:
            NotConnected: the connection was closed.
        """
        while not self.is_connected:
            if self._closed:
                raise NotConnected("the connection is closed")
            await asyncio.sleep(0)  # a link that ended in this very turn has not cleared the event yet
            await self._supervisor.connected.wait()

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after each reconnect, with every subscription in place. Returns the remover."""
        return self._up.add(callback)

    def on_disconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when a link ended. Returns the remover."""
        return self._down.add(callback)

    def on_denial(self, taker: Callable[[PermissionViolation], bool]) -> Callable[[], None]:
        """Show what the server denies to `taker` first; True keeps it from everybody else. Returns the remover."""
        return self._denials.take(taker)

    def suspect(self) -> None:
        """Doubt the link: it ends, to be replaced, if the server does not answer within 2 s."""
        if (link := self.link) is not None:
            link.probe(_PROBE)

    # --- messages --------------------------------------------------------------------------------------------------

    def new_inbox(self) -> str:
        """Return a subject that nobody else uses, under the inbox prefix."""
        return f"{self.settings.inbox_prefix}.{self._names.next().decode()}"

    def send(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] | bytes | None = None, reply: str = ""
    ) -> None:
        """Queue a message without waiting for the socket. Bytes are the lines of encoded headers.

        Raises:
            NotConnected: there is no link; nothing was sent.
            PayloadTooLarge: the server would end the connection over it; nothing was sent.
            ValueError: the subject or a header is malformed.
        """
        command = encode_publish(subject, data, headers, reply, self.max_payload)
        if (link := self.link) is None:
            raise NotConnected(f'no connection to {self.address}; nothing was sent to "{subject}"')
        link.send(command)

    async def publish(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Publish on core NATS: nobody confirms it. Waits while the socket is full.

        Raises:
            NotConnected: there is no link; nothing was sent.
            PayloadTooLarge: the server would end the connection over it; nothing was sent.
            ValueError: the subject or a header is malformed.
        """
        await self.writable()
        self.send(subject, data, headers=headers, reply=reply)

    @property
    def is_ready(self) -> bool:
        """Whether there is a link whose socket is not full."""
        return (link := self.link) is not None and link.is_roomy

    async def writable(self) -> None:
        """Wait while the socket is full."""
        if (link := self.link) is not None:
            await link.writable()

    def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: timedelta,
        repeat: bool = False,
    ) -> Coroutine[None, None, Message]:
        """Ask, and wait for one answer.

        While disconnected, wait for the connection first. When the link ends while the answer is awaited, go on
        waiting for it on the next link; with `repeat`, which is for questions that change nothing, ask again there.

        Raises:
            NoResponders: nobody listens on the subject.
            RequestTimeout: no answer came within `timeout`.
            NotConnected: there was no connection within `timeout`; nothing was sent.
            PermissionDenied: the account may not publish to the subject. Raised at once.
            PayloadTooLarge: the server would end the connection over it; nothing was sent.
        """
        return ask(self, subject, data, headers, timeout, repeat=repeat)

    def exchange(
        self,
        exchange: Exchange,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | bytes | None,
        timeout: timedelta,
    ) -> str:
        """Send a message whose answer goes to `exchange`; returns its reply subject. Raises as `send`."""
        reply = self._replies.expect(exchange, subject, timeout)
        try:
            self.send(subject, data, headers=headers, reply=reply)
        except BaseException:
            self._replies.forget(reply)
            raise
        return reply

    def forget(self, reply: str) -> None:
        """Await the answer to this reply subject no longer."""
        self._replies.forget(reply)

    async def subscribe(
        self, subject: str, on_message: Callable[[Message], None], *, queue: str = ""
    ) -> Subscription:
        """Call back for each message on the subject, in order, until unsubscribed, through every reconnect.

        What the callback raises is logged. A subject that the account may not use shows at the next `flush`.

        Raises:
            ValueError: the subject is malformed.
        """
        return self.listen(subject, on_message, queue=queue)

    def listen(self, subject: str, on_message: Callable[[Message], None], *, queue: str = "") -> Subscription:
        """Subscribe without a coroutine; otherwise as `subscribe`."""
        subscription = self._subscriptions.add(subject, queue, on_message)
        subscription.attach(lambda: self.link)
        return subscription

    async def flush(self, timeout: timedelta = _FLUSH) -> None:
        """Wait until the server has read everything sent so far. Waits for the connection first.

        Raises:
            RequestTimeout: that took longer than `timeout`. The connection stays usable.
            PermissionDenied: a subscription made since the last flush was refused.
        """
        newest = self._subscriptions.newest
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                answered = False
                while not answered:
                    await self.wait_connected()
                    link = self.link
                    answered = link is not None and await asyncio.shield(link.ping())
        except TimeoutError:
            raise RequestTimeout(f"{self.address} did not answer a ping within {timeout}") from None
        self._subscriptions.confirm(newest)
        self._denials.raise_kept()

    # --- the supervisor's calls ------------------------------------------------------------------------------------

    def _on_up(self, link: Link) -> None:
        self._info = link.info
        self._subscriptions.restore(link)
        if self._was_up:
            self._up.tell()
        self._was_up = True

    def _on_down(self) -> None:
        self._replies.on_disconnect()
        self._down.tell()
