"""How many handlers of a queue run at a time in this process, and who runs next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

__all__ = ["Capacity", "Permit"]


class Capacity:
    """The hands of one worker.

    A hand is free again once its handler has ended: the next message is fetched while the outcome is being stored. So
    there are twice as many messages at most as hands, in a handler or being stored. A job that waits for its key lays its hand down, and takes one
    again before new work comes in.
    """

    def __init__(self, count: int, on_change: Callable[[], None]) -> None:
        """Prepare; `on_change` is called whenever `room` may have changed."""
        self._count = count
        self._on_change = on_change
        self._working = 0
        self._storing = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def room(self) -> int:
        """How many more messages may be taken in."""
        return min(self._count - self._working, 2 * self._count - self._working - self._storing)

    def acquire(self) -> Permit:
        """Take a hand for a message that has just come."""
        self._working += 1
        return Permit(self)

    async def take(self) -> None:
        """Take a hand, when one is free."""
        if self.room > 0 or self._closed:
            self._working += 1
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
        """Let everybody have a hand from now on, free or not: the worker stops, and they shall see it."""
        self._closed = True
        while self._waiting:
            self._hand_over()

    def put_down(self, *, storing: bool = False) -> None:
        """Lay a hand down: for good, or while its outcome is being stored."""
        self._working -= 1
        self._storing += storing
        self._changed()

    def stored(self) -> None:
        """Say that an outcome is stored."""
        self._storing -= 1
        self._changed()

    def _changed(self) -> None:
        while self._waiting and self.room > 0:
            self._hand_over()
        self._on_change()

    def _hand_over(self) -> None:
        turn = self._waiting.popleft()
        if not turn.done():
            self._working += 1
            turn.set_result(None)


class _Place(Enum):
    WORKING = auto()
    STORING = auto()
    GONE = auto()


class Permit:
    """One message's hand."""

    __slots__ = ("_capacity", "_place")

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._place = _Place.WORKING

    @property
    def is_held(self) -> bool:
        """Whether the message has its hand, so that its handler may run."""
        return self._place is _Place.WORKING

    def release(self) -> None:
        """Give it up, for others to run: the job waits, or is done. Safe to call twice."""
        place, self._place = self._place, _Place.GONE
        if place is _Place.WORKING:
            self._capacity.put_down()
        elif place is _Place.STORING:
            self._capacity.stored()

    def handled(self) -> None:
        """Say that its handler has ended: another one may begin while the outcome is being stored."""
        if self._place is _Place.WORKING:
            self._place = _Place.STORING
            self._capacity.put_down(storing=True)

    async def reacquire(self) -> None:
        """Wait for a hand again; at once when it is still held."""
        if self._place is not _Place.WORKING:
            await self._capacity.take()
            self._place = _Place.WORKING
