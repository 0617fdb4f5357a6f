"""The time of a control plane, for signatures of a machine whose own clock is wrong."""

from __future__ import annotations

import time
from typing import Final

__all__ = ["PlatformClock"]

_TOLERATED: Final = 5
"""Seconds by which the own clock may differ and is still used: a control plane accepts 30, and a machine whose clock is
kept right differs by less."""


class PlatformClock:
    """Seconds since 1970, by the clock of the control plane where that of this machine is wrong."""

    def __init__(self) -> None:
        self._base: float | None = None
        """The difference to the monotonic clock, which does not jump when the wall clock is corrected. None: the own clock is right."""

    def now(self) -> float:
        """Return the time."""
        return time.time() if self._base is None else self._base + time.monotonic()

    def set(self, server_now: int) -> None:
        """Take the time of an answer that was just received."""
        is_right = abs(server_now - time.time()) <= _TOLERATED
        self._base = None if is_right else server_now - time.monotonic()
