"""Answers that are awaited: one inbox for a whole connection, one deadline each."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import count
from typing import Final, Protocol

from trellis_nats._nats.wire.message import Message

__all__ = ["Exchange", "Replies"]

_LATE: Final = 0.1
"""Seconds. A timer this late means that the loop was blocked."""


class Exchange(Protocol):
    """Something that awaits an answer. Exactly one of these is called, once; none may raise."""

    def answered(self, message: Message) -> None:
        """The answer is here."""
        ...

    def expired(self, *, closed: bool) -> None:
        """The deadline passed first, or the connection was closed."""
        ...

    def denied(self) -> None:
        """The account may not publish to the subject."""
        ...

    def disconnected(self) -> bool:
        """The link ended. Return True to be forgotten, False to go on waiting."""
        ...


class Replies:
    """The exchanges under way, by the last token of their reply subject."""

    def __init__(self, inbox: str, loop: asyncio.AbstractEventLoop) -> None:
        self.subject = f"{inbox}.*"
        """What the connection subscribes to."""
        self._prefix = f"{inbox}."
        self._numbers = count()
        self._waiting: dict[str, tuple[float, str, Exchange]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._loop = loop

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, exchange: Exchange, subject: str, timeout: timedelta) -> str:
        """Register an exchange about `subject`, and return the reply subject to send with it."""
        token = str(next(self._numbers))
        due = self._loop.time() + timeout.total_seconds()
        self._waiting[token] = (due, subject, exchange)
        self._sweep_by(due)
        return self._prefix + token

    def forget(self, reply: str) -> None:
        """Await this answer no longer."""
        self._waiting.pop(reply[len(self._prefix) :], None)

    def on_message(self, message: Message) -> None:
        """Hand an answer to who awaits it; a late one is dropped."""
        entry = self._waiting.pop(message.subject[len(self._prefix) :], None)
        if entry is not None:
            entry[2].answered(message)

    def on_denied(self, subject: str) -> bool:
        """Fail what was sent to the subject, compared without case; say whether there was something."""
        found = [token for token, (_, about, _) in self._waiting.items() if about.lower() == subject]
        for token in found:
            self._waiting.pop(token)[2].denied()
        return bool(found)

    def on_disconnect(self) -> None:
        """Tell every exchange that the link ended."""
        for token, (_, _, exchange) in list(self._waiting.items()):
            if exchange.disconnected():
                self._waiting.pop(token, None)

    def close(self) -> None:
        """End every exchange: the connection is being closed."""
        if self._sweep is not None:
            self._sweep.cancel()
        while self._waiting:
            self._waiting.popitem()[1][2].expired(closed=True)

    def _sweep_by(self, due: float) -> None:
        # One timer for all: a timer per publish would cost more than the publish.
        if self._sweep is not None:
            if self._sweep.when() <= due:
                return
            self._sweep.cancel()
        self._sweep = self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        now = self._loop.time()
        late = self._sweep is not None and now - self._sweep.when() > _LATE
        self._sweep = None
        if late:  # the loop was blocked: answers may wait unread in the socket
            self._sweep = self._loop.call_at(now + _LATE, self._expire)
            return
        for token in [token for token, (due, _, _) in self._waiting.items() if due <= now]:
            self._waiting.pop(token)[2].expired(closed=False)
        if self._waiting:
            self._sweep_by(min(due for due, _, _ in self._waiting.values()))
