"""Buffers messages for a reader, so that the connection that delivers them never waits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from trellis_nats._nats.wire.message import Message, memory_of
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.plural import plural
from trellis_nats.errors import NotConnected

__all__ = ["ReceiveBuffer"]

_log = logging.getLogger(__name__)

_LOG_EVERY: Final = 1000
"""Messages dropped between two log lines."""


class ReceiveBuffer:
    """Keeps messages in order until they are taken. When it is full, the oldest ones are dropped."""

    def __init__(self, name: str, *, messages_max: int, bytes_max: int) -> None:
        self.dropped = 0
        """How many messages were dropped because the reader was too slow."""
        self._name = name
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._closed = False
        self._error: NotConnected | None = None
        self._changed = asyncio.Event()

    def put(self, message: Message) -> None:
        """Add a message; drop the oldest ones when the buffer is full."""
        self._messages.append(message)
        self._bytes += _memory_of(message)
        while len(self._messages) > self._messages_max or self._bytes > self._bytes_max:
            self._bytes -= _memory_of(self._messages.popleft())
            self._count_dropped()
        self._changed.set()

    async def take(self) -> Message | None:
        """Take the oldest message; wait for one. None when the buffer is closed and empty.

        Raises:
            NotConnected: the connection was closed, and the buffer is empty.
        """
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._bytes -= _memory_of(message)
        return message

    def close(self) -> None:
        """End the readers once they have taken the rest."""
        self._closed = True
        self._changed.set()

    def fail(self, error: NotConnected) -> None:
        """Let the readers take the rest, and then fail."""
        self._error = error
        self._changed.set()

    def _count_dropped(self) -> None:
        if self.dropped % _LOG_EVERY == 0:
            _log.warning(
                "%s: the reader is too slow; %s dropped so far",
                self._name,
                plural(self.dropped + 1, "message"),
                extra=log_fields(LogEvent.EVENTS_DROPPED),
            )
        self.dropped += 1


def _memory_of(message: Message) -> int:
    return memory_of(message.data, message.headers)
