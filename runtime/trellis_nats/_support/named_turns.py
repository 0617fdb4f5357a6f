"""Lets the callers that use one name go one after another, in the order of their arrival."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["NamedTurns"]


class NamedTurns:
    """Like a lock for each name. A name that no other caller uses costs an entry of a dictionary instead of a lock.

    For the callers of one event loop.
    """

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: dict[str, deque[asyncio.Future[None]] | None] = {}
        """The names in use, with the callers that wait for them."""

    def try_take(self, name: str) -> bool:
        """Take the turn if no other caller has it. The caller must `end` it."""
        if name in self._taken:
            return False
        self._taken[name] = None
        return True

    async def take(self, name: str) -> None:
        """Wait for the turn and take it. The caller must `end` it."""
        if self.try_take(name):
            return
        waiting = self._taken[name]
        if waiting is None:
            waiting = self._taken[name] = deque()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.end(name)  # the turn came in the same moment
            raise

    def end(self, name: str) -> None:
        """End the turn: the next caller has it."""
        waiting = self._taken[name]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._taken[name]
