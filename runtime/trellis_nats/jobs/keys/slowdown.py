"""How long a process waits before it requests more slots, after it was too slow to use one. Pure.

A process that requests more slots than it can start attempts for in time loses them all: each attempt is then repeated, and
that work delays the next one. It recovers only if it requests fewer slots for a while.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

__all__ = ["Slowdown"]

_LONGEST: Final = timedelta(seconds=30)


class Slowdown:
    """Doubles the pause with each slot that came too late, and halves it with each one that was used in time."""

    def __init__(self, first: timedelta) -> None:
        self._first = first
        self._late = 0

    def on_in_time(self) -> None:
        """Note that a slot was used in time."""
        self._late = max(0, self._late - 1)

    def on_too_late(self) -> timedelta:
        """Note that a slot came too late, and return the pause before its permit is used again, at most 30 s."""
        pause = self._first * (1 << min(self._late, 16))
        if pause < _LONGEST:
            self._late += 1
        return min(pause, _LONGEST)
