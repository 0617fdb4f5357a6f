"""Time limits of tasks, with one timer for all of them."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Final

__all__ = ["Deadlines"]


class Deadlines:
    """The limits that run now. Each `asyncio.timeout` has a timer, which costs as much as a short handler; this has one.

    Not thread-safe: it belongs to one event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: Final = loop
        """The event loop."""
        self._limits: set[_Limit] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next = math.inf
        """When the timer fires. What it was set for may have ended since."""

    def limit(self, due: float | None) -> _Limit:
        """Limit a `with` block to a time of the loop; None: without a limit.

        The task is cancelled then, and the block raises a `TimeoutError`, as that of `asyncio.timeout_at` does.
        """
        return _Limit(self, math.inf if due is None else due)

    def add(self, limit: _Limit) -> None:
        """Take in a limit whose block has begun."""
        self._limits.add(limit)
        if limit.due < self._next:
            self._set_timer(limit.due)

    def discard(self, limit: _Limit) -> None:
        """Forget a limit whose block has ended."""
        self._limits.discard(limit)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self.loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._timer, self._next = None, math.inf
        now = self.loop.time()
        for limit in [limit for limit in self._limits if limit.due <= now]:
            self._limits.discard(limit)
            limit.expire()
        following = min((limit.due for limit in self._limits), default=math.inf)
        if following < math.inf:
            self._set_timer(following)


class _Limit:
    """The limit of one block in one task."""

    __slots__ = ("_cancelling", "_deadlines", "_is_over", "_task", "due")

    def __init__(self, deadlines: Deadlines, due: float) -> None:
        self.due = due
        self._deadlines = deadlines
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._is_over = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task(self._deadlines.loop)
        if self._task is not None:
            self._cancelling = self._task.cancelling()
            self._deadlines.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None, /
    ) -> None:
        self._deadlines.discard(self)
        if self._is_over and self._task is not None:
            # Another cancellation, such as that of a stop, counts more than the limit.
            is_alone = self._task.uncancel() <= self._cancelling
            if is_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
