"""Core NATS request and reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats._nats.readiness import wait_jetstream, wait_ready
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.errors import NoResponders, PermissionDenied, RequestTimeout

__all__ = ["request"]


class _LinkEnded(Exception):
    """The link ended while a repeatable request waited for its reply."""


class _PendingRequest:
    """A request that waits for its reply."""

    __slots__ = ("_repeat", "_subject", "_timeout", "reply")

    def __init__(
        self, reply: asyncio.Future[Message], subject: str, timeout: timedelta, *, repeat: bool
    ) -> None:
        self.reply = reply
        self._subject = subject
        self._timeout = timeout
        self._repeat = repeat

    def on_reply(self, message: Message) -> None:
        if not self.reply.done():
            self.reply.set_result(message)

    def on_timeout(self, *, closed: bool) -> None:
        when = "before the connection was closed" if closed else f"within {self._timeout.total_seconds():g} s"
        self._fail(RequestTimeout(f'no reply on "{self._subject}" {when}'))

    def on_denied(self) -> None:
        self._fail(PermissionDenied("publish to", self._subject))

    def on_disconnect(self) -> bool:
        if self._repeat:
            self._fail(_LinkEnded())
        return self._repeat

    def _fail(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


async def request(
    connection: Connection,
    subject: str,
    data: bytes = b"",
    *,
    headers: Mapping[str, str] | bytes | Callable[[], Mapping[str, str] | bytes] | None = None,
    timeout: timedelta,
    repeat: bool = False,
    answer: AnswerSize | None = None,
) -> Message:
    """Send a request and wait for one reply.

    While disconnected, wait for the connection first. What writes the `headers` is called when the request is sent. When
    the link ends before the reply arrives, keep waiting on the next link. With `repeat`, send the request again there, and
    again while a cluster elects a leader or a server stops; use it only for requests that change nothing. With `answer`,
    wait for the turn of this read first; that time does not count.

    Raises:
        NoResponders: no process listens on the subject.
        RequestTimeout: no reply arrived within `timeout`.
        NotConnected: there was no connection within `timeout`; nothing was sent.
        PermissionDenied: the account may not publish to the subject. Raised immediately.
        PayloadTooLarge: the message exceeds the server's limit; nothing was sent.
    """
    loop = connection.loop
    budget = None if answer is None else connection.reads[answer]
    due, left, absent_since = loop.time() + timeout.total_seconds(), timeout, 0.0
    while True:
        if not connection.is_ready:
            await wait_ready(connection, due, subject)
            left = _left(due, loop)
        reserved = 0
        if budget is not None:
            asked = loop.time()
            reserved = await budget.acquire(connection.max_payload)
            due += loop.time() - asked
        pending = _PendingRequest(loop.create_future(), subject, timeout, repeat=repeat)
        inbox = ""
        try:
            # The link may have ended while this read waited for its turn.
            if budget is not None and not connection.is_ready:
                continue
            written = headers() if callable(headers) else headers
            inbox = connection.send_request(pending, subject, data, written, left)
            message = await pending.reply
        except _LinkEnded:
            left = _left(due, loop)
            continue
        finally:
            connection.forget_reply(inbox)
            if budget is not None:
                budget.release(reserved)
        if budget is not None:
            budget.note(len(message.data))
        if message.status != NO_RESPONDERS or message.data:
            return message
        absent_since = absent_since or loop.time()
        if not repeat or not await wait_jetstream(connection, due, absent_since):
            raise NoResponders(f'no process listens on "{subject}"')
        left = _left(due, loop)


def _left(due: float, loop: asyncio.AbstractEventLoop) -> timedelta:
    return timedelta(seconds=max(0.0, due - loop.time()))
