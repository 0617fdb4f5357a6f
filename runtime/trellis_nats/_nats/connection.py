"""A connection that survives server restarts, network failures and the end of nats-py's client."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final

from trellis_nats._nats.callbacks import Callbacks
from trellis_nats._nats.link.link import Link
from trellis_nats._nats.link.server_info import ServerInfo
from trellis_nats._nats.link.servers import ServerPool, parse_servers
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.permission_errors import PermissionErrors, PermissionViolation
from trellis_nats._nats.read_budget import AnswerSize, ReadBudget
from trellis_nats._nats.replies import PendingReplies, ReplyHandler
from trellis_nats._nats.subscriptions import Subscription, Subscriptions
from trellis_nats._nats.supervisor import Supervisor
from trellis_nats._nats.wire.message import Message
from trellis_nats._nats.wire.outgoing import encode_publish
from trellis_nats._support.forked_child import count_forks, in_forked_children
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.uninterrupted import run_to_end
from trellis_nats.clock import describe_duration
from trellis_nats.errors import NotConnected, PermissionDenied, RequestTimeout, WrongEventLoop
from trellis_nats.ids import new_unguessable

__all__ = ["Connection", "Subscription"]

_log = logging.getLogger(__name__)

_CLOSE_FLUSH: Final = timedelta(seconds=2)
_FLUSH: Final = timedelta(seconds=5)
_PROBE: Final = timedelta(seconds=2)


class Connection:
    """One logical connection: the links below it come and go, subscriptions and pending requests stay.

    Not thread-safe: it belongs to the event loop that opened it.
    """

    def __init__(self, pool: ServerPool, settings: ConnectionSettings) -> None:
        self._pool = pool
        self.settings = settings
        """What a second connection to the same servers needs, credentials included."""
        self.address = settings.servers[0]
        """The first server; without credentials."""
        self.loop: Final = asyncio.get_running_loop()
        """The event loop of the connection; looking up the running loop takes a system call before Python 3.12."""
        self._thread = threading.get_ident()
        self._forks = count_forks()
        self._keep_in_children = in_forked_children(self._on_forked)
        self.reads: Final = {size: ReadBudget(size) for size in AnswerSize}
        """Give reads their turns, so that their answers do not cut the connection."""
        self.followers = 0
        """How many streams are followed (`stream_follower`)."""
        self.downloads = 0
        """How many downloads are received, which share what may be under way."""
        self._subscriptions = Subscriptions()
        self._replies = PendingReplies(self.new_inbox(), self.loop)
        self._subscriptions.add(self._replies.subject, "", self._replies.on_message)
        self._permission_errors = PermissionErrors(
            self._replies.on_denied,
            partial(self._subscriptions.on_refused, get_link=lambda: self.link),
            api_prefix=settings.api_prefix,
        )
        self._reconnect_callbacks = Callbacks()
        self._disconnect_callbacks = Callbacks()
        self._close_callbacks = Callbacks()
        self._closed = False
        self._info = ServerInfo()
        self._was_connected = False
        self._supervisor = Supervisor(
            pool,
            settings,
            routes=self._subscriptions.routes,
            on_up=self._on_up,
            on_down=self._on_down,
            on_permission_error=self._permission_errors.handle,
        )

    @classmethod
    async def open(cls, url: str, *, settings: ConnectionSettings) -> Connection:
        """Connect for the first time. From then on the connection reconnects, without a limit, until `close`.

        Raises:
            CannotConnect: no server was reached within `connect_timeout`, or one refused permanently.
            PermissionDenied: the account may not subscribe to its own inbox.
            ConfigurationError: an address is malformed, or a required package is missing.
        """
        connection = cls(*parse_servers(url, settings))
        try:
            await connection._connect()
        except BaseException:
            connection._keep_in_children()
            await connection._supervisor.stop()
            raise
        return connection

    async def _connect(self) -> None:
        inbox, refused = self._replies.subject, list[PermissionViolation]()

        def keep(violation: PermissionViolation) -> bool:
            """Keep the refusal of the inbox: the caller gets it as an error, and it is not logged too."""
            is_inbox = (violation.operation, violation.subject) == ("subscribe to", inbox.lower())
            refused.extend([violation] if is_inbox else [])
            return is_inbox

        remove = self.on_permission_error(keep)
        try:
            await self._supervisor.start()
            await self.flush()
        finally:
            remove()
        if refused:
            raise PermissionDenied("subscribe to", inbox)

    async def close(self) -> None:
        """Send what is queued, for 2 s at most, and end. Pending requests fail. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._keep_in_children()
        await run_to_end(self._close())

    async def _close(self) -> None:
        link = self._supervisor.link
        if link is not None:
            await asyncio.wait([link.ping()], timeout=_CLOSE_FLUSH.total_seconds())
        self._replies.close()
        self._subscriptions.stop()
        await self._supervisor.stop()
        self._supervisor.connected.set()  # wakes `wait_connected`, which then raises
        self._close_callbacks.call_all()
        self._disconnect_callbacks.call_all()

    def use_servers(self, url: str) -> None:
        """Use other servers from the next attempt to connect on; the link in use stays.

        Raises:
            ConfigurationError: an address is malformed.
        """
        pool, self.settings = parse_servers(url, self.settings)
        self._pool.configured, self._pool.discovered = pool.configured, ()

    def require_own_loop(self) -> None:
        """Refuse a call that does not run on the event loop of this connection.

        Raises:
            WrongEventLoop: it runs on another one, in another thread, or in a forked child; nothing was sent.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self.loop:
            raise WrongEventLoop(WrongEventLoop.FORKED if self.is_forked() else WrongEventLoop.OTHER)

    def is_forked(self) -> bool:
        """Return whether this process is a forked child of the one that connected."""
        return self._forks != count_forks()

    def _on_forked(self) -> None:
        """In a forked child: make sure that the child does not continue its parent's event loop."""
        if threading.get_ident() == self._thread:
            self.loop.call_soon(_end_stray_child)

    # --- state -----------------------------------------------------------------------------------------------------

    @property
    def link(self) -> Link | None:
        """The link in use; None while there is none."""
        link = self._supervisor.link
        return link if link is not None and link.is_usable else None

    @property
    def is_connected(self) -> bool:
        """Whether there is a link now, as far as this process knows."""
        return self.link is not None

    @property
    def refusal(self) -> str | None:
        """Why the last attempt to reconnect was refused, for example for its credentials; None when it was not refused."""
        return self._supervisor.refusal

    @property
    def server_version(self) -> tuple[int, int, int]:
        """The version of the server last connected to."""
        return self._info.version

    @property
    def max_payload(self) -> int:
        """The largest message that the server accepts, in bytes, headers included."""
        return self._info.max_payload_bytes

    @property
    def server_count(self) -> int:
        """How many servers the cluster has, as the server reports; 1 when it is standalone."""
        return max(1, len(self._info.cluster_hosts))

    @property
    def is_server_stopping(self) -> bool:
        """Whether the server has announced that it stops (lame duck mode). JetStream has stopped already."""
        return (link := self.link) is not None and link.info.is_stopping

    async def wait_connected(self) -> None:
        """Wait until there is a link.

        Raises:
            NotConnected: the connection was closed.
        """
        while not self.is_connected:
            if self._closed:
                raise NotConnected(NotConnected.CLOSED)
            await asyncio.sleep(0)  # a link that ended in this very turn has not cleared the event yet
            await self._supervisor.connected.wait()

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after each reconnect, when every subscription is restored. Return the function that removes it."""
        return self._reconnect_callbacks.add(callback)

    def on_disconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back each time a link ends. Return the function that removes the callback."""
        return self._disconnect_callbacks.add(callback)

    def on_close(self, callback: Callable[[NotConnected], None]) -> Callable[[], None]:
        """Call back when `close` has ended the connection, with the error for what still waits. Return the remover."""
        return self._close_callbacks.add(lambda: callback(NotConnected(NotConnected.CLOSED)))

    def on_permission_error(self, handler: Callable[[PermissionViolation], bool]) -> Callable[[], None]:
        """Pass each permission error to `handler` first; True means that it is handled. Return the remover."""
        return self._permission_errors.add_handler(handler)

    def on_publish_denied(
        self, subject: str, callback: Callable[[PermissionDenied], None]
    ) -> Callable[[], None]:
        """Call `callback` when the server refuses a message to a subject. Return the remover."""
        denied = PermissionViolation("publish to", subject.lower())

        def take(violation: PermissionViolation) -> bool:
            if violation == denied:
                callback(PermissionDenied("publish to", subject))
            return violation == denied

        return self.on_permission_error(take)

    def probe(self) -> None:
        """Ping the server. The link ends, and is replaced, if nothing arrives from it within 2 s."""
        if (link := self.link) is not None:
            link.probe(_PROBE)

    # --- messages --------------------------------------------------------------------------------------------------

    def new_inbox(self) -> str:
        """Return a unique subject under the inbox prefix. It cannot be guessed from others."""
        return f"{self.settings.inbox_prefix}.{new_unguessable()}"

    def send(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] | bytes | None = None, reply: str = ""
    ) -> None:
        """Queue a message without waiting for the socket. Headers in bytes are encoded lines.

        Raises:
            NotConnected: there is no link; nothing was sent.
            PayloadTooLarge: the message exceeds the server's limit; nothing was sent.
            ValueError: the subject or a header is malformed.
        """
        command = encode_publish(subject, data, headers, reply, self.max_payload)
        if (link := self.link) is None:
            raise NotConnected(f'no connection to {self.address}; nothing was sent to "{subject}"')
        link.send(command)

    async def publish(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Publish on core NATS, without an acknowledgement. Wait while the socket is full.

        Other tasks get a turn each time, so that a caller which does nothing else does not stop the event loop.

        Raises:
            NotConnected: there is no link; nothing was sent.
            PayloadTooLarge: the message exceeds the server's limit; nothing was sent.
            ValueError: the subject or a header is malformed.
        """
        await asyncio.sleep(0)
        await self.wait_writable()
        self.send(subject, data, headers=headers, reply=reply)

    @property
    def is_ready(self) -> bool:
        """Whether there is a link whose socket is not full."""
        return (link := self.link) is not None and link.is_writable

    async def wait_writable(self) -> None:
        """Wait while the socket is full."""
        if (link := self.link) is not None:
            await link.wait_writable()

    def send_request(
        self,
        handler: ReplyHandler,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | bytes | None,
        timeout: timedelta,
    ) -> str:
        """Send a message whose reply goes to `handler`. Return its reply subject. Raises as `send`."""
        reply = self._replies.add(handler, subject, timeout)
        try:
            self.send(subject, data, headers=headers, reply=reply)
        except BaseException:
            self._replies.discard(reply)
            raise
        return reply

    def forget_reply(self, reply: str) -> None:
        """Stop waiting for the reply to this reply subject."""
        self._replies.discard(reply)

    def subscribe(
        self, subject: str, on_message: Callable[[Message], None], *, queue: str = ""
    ) -> Subscription:
        """Call back for each message on the subject, in order, through every reconnect, until unsubscribed.

        Exceptions of the callback are logged. If the account may not use the subject, the next `flush` raises.

        Raises:
            ValueError: the subject is malformed.
        """
        subscription = self._subscriptions.add(subject, queue, on_message)
        subscription.start(lambda: self.link)
        return subscription

    async def flush(self, timeout: timedelta = _FLUSH) -> None:
        """Wait until the server has read everything sent so far. Wait for the connection first.

        Raises:
            RequestTimeout: the server did not answer within `timeout`. The connection stays usable.
            PermissionDenied: the server refused a subscription made since the last flush.
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
            raise RequestTimeout(
                f"{self.address} did not answer a ping within {describe_duration(timeout)}"
            ) from None
        self._subscriptions.mark_flushed(newest)
        self._permission_errors.raise_refused_subscription()

    # --- the supervisor's calls ------------------------------------------------------------------------------------

    def _on_up(self, link: Link) -> None:
        self._info = link.info
        self._subscriptions.restore(link)
        if self._was_connected:
            self._reconnect_callbacks.call_all()
        self._was_connected = True

    def _on_down(self) -> None:
        self._replies.on_disconnect()
        self._disconnect_callbacks.call_all()


def _end_stray_child() -> None:
    """End a child that left the code which forked it: it would take the signals and wake-ups of its parent."""
    text = "a forked child returned to the event loop of its parent and was ended: end it with os._exit() in your code"
    _log.error(text, extra=log_fields(LogEvent.STRAY_CHILD))
    os._exit(1)
