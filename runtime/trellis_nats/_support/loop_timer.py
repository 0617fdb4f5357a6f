"""A timer that does not fire because the event loop was blocked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

__all__ = ["LoopTimer"]

_WAITS_MAX: Final = 3
"""How often a timer waits for a blocked loop. Each time, the loop takes at least one turn and reads up to 256 KiB."""


class LoopTimer:
    """Calls back at a time of the event loop, once per `start`.

    A timer that fires late means that the loop was blocked: what the callback is about to give up on may lie unread in
    the socket. Then the timer waits again, for `late` seconds, in which the loop reads; at most three times, because a
    loop that stays slow, on a starved machine, fires every timer late.
    """

    __slots__ = ("_callback", "_handle", "_late", "_loop", "_waits", "when")

    def __init__(
        self, callback: Callable[[], None], *, late: float, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """Prepare.

        Args:
            callback: called in the loop.
            late: seconds. How late the timer may fire, and how long it waits after it fired later than that.
            loop: the event loop; by default the running one.
        """
        self.when = math.inf
        """When it fires, as a time of the loop; infinite while it is not started."""
        self._callback = callback
        self._late = late
        self._loop = loop or asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._waits = 0

    def start(self, when: float) -> None:
        """Fire at a time of the loop. An earlier start is forgotten."""
        self._waits = 0
        self._set(when)

    def cancel(self) -> None:
        """Do not fire. Safe to call at any time."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.when = math.inf

    def _set(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self.when = when
        self._handle = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        if now - self.when > self._late and self._waits < _WAITS_MAX:
            self._waits += 1
            self._set(now + self._late)
            return
        self._handle = None
        self.when = math.inf
        self._callback()
