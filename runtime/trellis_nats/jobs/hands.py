"""How many handlers of a queue run at a time in this process, and who runs next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["Hand", "Hands"]


class Hands:
    """The hands of one worker. A job that waits for its key lays its hand down, and takes one again before new work."""

    def __init__(self, count: int, on_change: Callable[[], None]) -> None:
        """Prepare; `on_change` is called whenever `free` may have changed."""
        self._count = count
        self._busy = 0
        self._on_change = on_change
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> int:
        """How many more messages may be taken in."""
        return self._count - self._busy

    def grab(self) -> Hand:
        """Take a hand for a message that has just come."""
        self._busy += 1
        return Hand(self)

    async def take(self) -> None:
        """Take a hand, when one is free."""
        if self._busy < self._count:
            self._busy += 1
            self._on_change()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.put_down()  # it was handed over in the same moment
            raise

    def close(self) -> None:
        """Let everybody who waits have a hand, free or not: the worker stops, and they shall see it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)

    def put_down(self) -> None:
        """Lay a hand down: for who waits for one, else for new work."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy -= 1
        self._on_change()


class Hand:
    """One message's hand."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._held = True

    @property
    def is_held(self) -> bool:
        """Whether the message has its hand."""
        return self._held

    def lay_down(self) -> None:
        """Give it up, for others to run. Safe to call twice."""
        if self._held:
            self._held = False
            self._hands.put_down()

    async def take_up(self) -> None:
        """Wait for a hand again; at once when it is still held."""
        if not self._held:
            await self._hands.take()
            self._held = True
