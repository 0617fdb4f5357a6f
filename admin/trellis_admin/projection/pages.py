"""Collects messages that arrive one after the other into pages, so that a transaction writes many of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from trellis_nats._nats.jetstream.delivery import Delivery

from trellis_admin.projection.incoming import Incoming

__all__ = ["PageBuffer"]

_PAGE: Final = 2_000
_PAGE_BYTES: Final = 8 * 1024 * 1024
_PAUSE: Final = 0.05
"""Seconds between pages: 20 transactions a second at most, and nothing is older than that when it is written."""


class PageBuffer:
    """Holds at most one page in addition to the one that is being written."""

    def __init__(self, messages: AsyncIterator[Delivery], read: Callable[[Delivery], Incoming]) -> None:
        self._messages = messages
        self._read = read
        self._page: list[Incoming] = []
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_ended = False

    @asynccontextmanager
    async def filling(self) -> AsyncGenerator[None]:
        """Collect messages for the length of a block."""
        task = asyncio.create_task(self._fill())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def take(self) -> list[Incoming]:
        """Return the next page, when there is one; an empty one after the end."""
        await self._arrived.wait()
        if len(self._page) < _PAGE and not self._has_ended:
            await asyncio.sleep(_PAUSE)
        page, self._page, self._bytes = self._page, [], 0
        self._has_room.set()
        if not self._has_ended:
            self._arrived.clear()
        return page

    def end(self) -> None:
        """End: what has arrived is still a page."""
        self._has_ended = True
        self._arrived.set()

    async def _fill(self) -> None:
        try:
            async for message in self._messages:
                while len(self._page) >= _PAGE or self._bytes >= _PAGE_BYTES:
                    self._has_room.clear()
                    await self._has_room.wait()
                self._page.append(self._read(message))
                self._bytes += len(message.data)
                self._arrived.set()
        finally:
            self.end()
