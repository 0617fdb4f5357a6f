"""Ask and wait: core NATS request and reply."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from trellis_nats._nats.readiness import outlast_election, wait_ready
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.errors import NoResponders, PermissionDenied, RequestTimeout

if TYPE_CHECKING:
    from trellis_nats._nats.connection import Connection

__all__ = ["ask"]


class _LinkEnded(Exception):
    """The link ended while the answer to a repeatable request was awaited."""


class _Asking:
    """One request under way."""

    __slots__ = ("_repeat", "_subject", "_timeout", "answer")

    def __init__(
        self, answer: asyncio.Future[Message], subject: str, timeout: timedelta, *, repeat: bool
    ) -> None:
        self.answer = answer
        self._subject = subject
        self._timeout = timeout
        self._repeat = repeat

    def answered(self, message: Message) -> None:
        if not self.answer.done():
            self.answer.set_result(message)

    def expired(self, *, closed: bool) -> None:
        when = "before the connection was closed" if closed else f"within {self._timeout.total_seconds():g} s"
        self._fail(RequestTimeout(f'no answer on "{self._subject}" {when}'))

    def denied(self) -> None:
        self._fail(PermissionDenied("publish to", self._subject))

    def disconnected(self) -> bool:
        if self._repeat:
            self._fail(_LinkEnded())
        return self._repeat

    def _fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def ask(
    connection: Connection,
    subject: str,
    data: bytes,
    headers: Mapping[str, str] | None,
    timeout: timedelta,
    *,
    repeat: bool,
) -> Message:
    """Do what `Connection.request` describes."""
    loop = connection.loop
    due = loop.time() + timeout.total_seconds()
    left = timeout
    while True:
        if not connection.is_ready:
            await wait_ready(connection, due, subject)
            left = _left(due, loop)
        asking = _Asking(loop.create_future(), subject, timeout, repeat=repeat)
        reply = connection.exchange(asking, subject, data, headers, left)
        try:
            message = await asking.answer
        except _LinkEnded:
            left = _left(due, loop)
            continue
        finally:
            connection.forget(reply)
        if message.status != NO_RESPONDERS or message.data:
            return message
        if not repeat or not await outlast_election(connection, due):
            raise NoResponders(f'nobody listens on "{subject}"')
        left = _left(due, loop)


def _left(due: float, loop: asyncio.AbstractEventLoop) -> timedelta:
    return timedelta(seconds=max(0.0, due - loop.time()))
