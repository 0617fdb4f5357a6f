"""Messages between the connection, which never waits, and a reader, which may be slow."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from trellis_nats._nats.wire.message import Message

__all__ = ["Backlog"]

_log = logging.getLogger(__name__)

_LOGGED_EVERY = 1000


class Backlog:
    """Keeps messages in order until they are taken. When it is full, the oldest ones go."""

    def __init__(self, name: str, *, messages_max: int, bytes_max: int) -> None:
        self.dropped = 0
        """How many messages went because the reader was too slow."""
        self._name = name
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, message: Message) -> None:
        """Add a message; drop the oldest ones if there is no room."""
        self._messages.append(message)
        self._bytes += len(message.data)
        while len(self._messages) > self._messages_max or self._bytes > self._bytes_max:
            self._bytes -= len(self._messages.popleft().data)
            self._count_dropped()
        self._changed.set()

    async def take(self) -> Message | None:
        """Take the oldest message; wait for one. None when the backlog is closed and empty."""
        while not self._messages:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._bytes -= len(message.data)
        return message

    def close(self) -> None:
        """Let the readers end."""
        self._closed = True
        self._changed.set()

    def _count_dropped(self) -> None:
        if self.dropped % _LOGGED_EVERY == 0:
            _log.warning("%s: the listener is too slow; so far %d were dropped", self._name, self.dropped + 1)
        self.dropped += 1
