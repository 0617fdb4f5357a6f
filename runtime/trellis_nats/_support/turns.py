"""Lets a bounded number of tasks work at a time."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Turns"]


class Turns:
    """Turns to work, given in the order of asking. Not thread-safe: it belongs to one event loop.

    As `asyncio.Semaphore`, but a free turn is taken without a coroutine, which costs as much as a short handler.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a turn if one is free, and return whether it was. `end` must follow."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Wait for a turn, where `take` found none. `end` must follow."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.end()  # the turn came in the same moment
            raise

    def end(self) -> None:
        """End a turn. The task that waits longest gets it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
