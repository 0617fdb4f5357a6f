"""Measures how late the event loop is: what blocks it, or a machine without time for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

__all__ = ["LoopLag"]

_EVERY: Final = 0.5
"""Seconds between two timers. An idle loop wakes twice a second for it."""
_WINDOW: Final = 30.0
"""Seconds of one window: `read` looks back over one or two of them."""


class LoopLag:
    """How late timers of one event loop fire. `read` may be called from any thread, also while the loop is blocked."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        """Prepare; `observe` gets the seconds of each timer, in the loop."""
        self._observe = observe
        self._handle: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._window_ends = 0.0
        self._longest = self._longest_before = 0.0

    def start(self) -> None:
        """Begin to measure the running loop."""
        self._window_ends = monotonic() + _WINDOW
        self._set()

    def stop(self) -> None:
        """Stop measuring. Safe to call twice."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._due = None

    def read(self) -> float:
        """Return the longest delay of the last 30 to 60 seconds, in seconds; while the loop is blocked, for how long."""
        due = self._due
        overdue = 0.0 if due is None else monotonic() - due
        return max(self._longest, self._longest_before, overdue)

    def _set(self) -> None:
        # Not the time of the loop: that of some loops stands still while a callback runs.
        self._due = monotonic() + _EVERY
        self._handle = asyncio.get_running_loop().call_later(_EVERY, self._fire)

    def _fire(self) -> None:
        now = monotonic()
        late = 0.0 if self._due is None else max(0.0, now - self._due)
        if now >= self._window_ends:
            self._longest, self._longest_before = 0.0, self._longest
            self._window_ends = now + _WINDOW
        self._longest = max(self._longest, late)
        self._observe(late)
        self._set()
