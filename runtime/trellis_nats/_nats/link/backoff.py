"""Waits that grow, with jitter: how long to pause before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta

__all__ = ["Backoff"]


@dataclass(slots=True)
class Backoff:
    """A wait that grows by half from `first` to `longest`. Each is cut by up to a half at random.

    The jitter keeps a thousand workers that lost one server from coming back in one instant.
    """

    first: timedelta
    longest: timedelta
    _failures: int = field(default=0, init=False)

    def next(self) -> timedelta:
        """Return the wait before the next attempt, and count it."""
        # 1.5**30 times `first` is past every `longest`; the bound keeps the power small after days of failing.
        wait = min(self.longest, self.first * 1.5 ** min(self._failures, 30))
        self._failures += 1
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    def reset(self) -> None:
        """Begin with `first` again."""
        self._failures = 0
