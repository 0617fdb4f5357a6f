"""Limits how many handlers of a queue run at a time in this process, and decides which job runs next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

__all__ = ["Capacity", "Permit"]


class Capacity:
    """The permits of one worker, one for each handler that may run at a time.

    A permit is free again once its handler has ended: the next message is fetched while the outcome is being stored. So
    at most twice as many messages as permits are in a handler or being stored. A job that waits for a slot of its key
    releases its permit, and reacquires one before new messages are fetched.
    """

    def __init__(self, count: int, on_change: Callable[[], None]) -> None:
        """Prepare; `on_change` is called whenever `free` may have changed."""
        self._count = count
        self._on_change = on_change
        self._running = 0
        self._storing = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def free(self) -> int:
        """How many more messages may be taken in."""
        return min(self._count - self._running, 2 * self._count - self._running - self._storing)

    def acquire(self) -> Permit:
        """Acquire a permit for a message that has just arrived."""
        self._running += 1
        return Permit(self)

    def request(self) -> Permit:
        """Return the permit of a message that arrived without a free one: `reacquire` waits for it."""
        return Permit(self, is_held=False)

    async def wait_free(self) -> None:
        """Wait until a permit is free, and take it."""
        if self.free > 0 or self._closed:
            self._running += 1
            self._on_change()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.end_handler()  # the permit was granted in the same moment
            raise

    def close(self) -> None:
        """Grant a permit to every job that waits or will wait, free or not, so that it notices that the worker stops."""
        self._closed = True
        self.wake_all()

    def wake_all(self) -> None:
        """Grant a permit to every job that waits, free or not, so that it notices that it may not begin."""
        while self._waiting:
            self._grant()

    def end_handler(self, *, storing: bool = False) -> None:
        """Free a permit: for good, or while the outcome of its handler is being stored (`storing`)."""
        self._running -= 1
        self._storing += storing
        self._update()

    def end_storing(self) -> None:
        """Note that an outcome is stored."""
        self._storing -= 1
        self._update()

    def _update(self) -> None:
        while self._waiting and self.free > 0:
            self._grant()
        self._on_change()

    def _grant(self) -> None:
        turn = self._waiting.popleft()
        if not turn.done():
            self._running += 1
            turn.set_result(None)


class _State(Enum):
    RUNNING = auto()
    STORING = auto()
    RELEASED = auto()


class Permit:
    """One message's permit to run its handler."""

    __slots__ = ("_capacity", "_state")

    def __init__(self, capacity: Capacity, *, is_held: bool = True) -> None:
        self._capacity = capacity
        self._state = _State.RUNNING if is_held else _State.RELEASED

    @property
    def is_held(self) -> bool:
        """Whether the message holds its permit, so that its handler may run."""
        return self._state is _State.RUNNING

    def release(self) -> None:
        """Release the permit: the job waits, or is done. Safe to call twice."""
        state, self._state = self._state, _State.RELEASED
        if state is _State.RUNNING:
            self._capacity.end_handler()
        elif state is _State.STORING:
            self._capacity.end_storing()

    def end_handler(self) -> None:
        """Note that the handler has ended: another one may begin while the outcome is being stored."""
        if self._state is _State.RUNNING:
            self._state = _State.STORING
            self._capacity.end_handler(storing=True)

    async def reacquire(self) -> None:
        """Wait for a permit again; return at once while it is still held."""
        if self._state is not _State.RUNNING:
            await self._capacity.wait_free()
            self._state = _State.RUNNING
