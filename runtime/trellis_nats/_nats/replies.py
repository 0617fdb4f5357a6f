"""Requests and publishes that wait for a reply: one inbox for the whole connection, one deadline each."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final, Protocol

from trellis_nats._nats.wire.message import Message
from trellis_nats._support.loop_timer import LoopTimer
from trellis_nats.ids import new_unguessable

__all__ = ["PendingReplies", "ReplyHandler"]

_LATE: Final = 0.1
"""Seconds; see `LoopTimer`."""


class ReplyHandler(Protocol):
    """Handles how the wait for a reply ends. Exactly one of the methods ends it, once; none of them may raise."""

    def on_reply(self, message: Message) -> None:
        """Take the reply."""
        ...

    def on_timeout(self, *, closed: bool) -> None:
        """No reply arrived before the deadline, or before the connection was closed."""
        ...

    def on_denied(self) -> None:
        """The account may not publish to the subject."""
        ...

    def on_disconnect(self) -> bool:
        """The link ended. Return True to stop waiting, False to keep waiting."""
        ...


class PendingReplies:
    """The requests and publishes that wait for a reply, by the last token of the reply subject."""

    def __init__(self, inbox: str, loop: asyncio.AbstractEventLoop) -> None:
        self.subject = f"{inbox}.*"
        """The subject that the connection subscribes to."""
        self._prefix = f"{inbox}."
        self._prefix_length = len(self._prefix)
        self._waiting: dict[str, tuple[float, str, ReplyHandler]] = {}
        # One timer for all: a timer per publish would cost more than the publish.
        self._timer = LoopTimer(self._expire, late=_LATE, loop=loop)
        self._loop = loop

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, handler: ReplyHandler, subject: str, timeout: timedelta) -> str:
        """Register a message to `subject` that wants a reply. Return the reply subject to send with it."""
        # A program that has seen one reply subject cannot answer another request, such as that about a caller.
        token = new_unguessable()
        due = self._loop.time() + timeout.total_seconds()
        self._waiting[token] = (due, subject, handler)
        if due < self._timer.when:
            self._timer.start(due)
        return self._prefix + token

    def discard(self, reply: str) -> None:
        """Stop waiting for the reply to this reply subject."""
        self._waiting.pop(reply[self._prefix_length :], None)

    def on_message(self, message: Message) -> None:
        """Pass a reply to its handler; a late one is dropped."""
        entry = self._waiting.pop(message.subject[self._prefix_length :], None)
        if entry is not None:
            entry[2].on_reply(message)

    def on_denied(self, subject: str) -> bool:
        """Fail everything that was sent to the subject, given in lower case. Return whether anything waited."""
        found = [token for token, (_, about, _) in self._waiting.items() if about.lower() == subject]
        for token in found:
            self._waiting.pop(token)[2].on_denied()
        return bool(found)

    def on_disconnect(self) -> None:
        """Inform every handler that the link ended."""
        for token, (_, _, handler) in list(self._waiting.items()):
            if handler.on_disconnect():
                self._waiting.pop(token, None)

    def close(self) -> None:
        """Fail everything that still waits: the connection is being closed."""
        self._timer.cancel()
        while self._waiting:
            self._waiting.popitem()[1][2].on_timeout(closed=True)

    def _expire(self) -> None:
        now = self._loop.time()
        for token in [token for token, (due, _, _) in self._waiting.items() if due <= now]:
            self._waiting.pop(token)[2].on_timeout(closed=False)
        if self._waiting:
            self._timer.start(min(due for due, _, _ in self._waiting.values()))
