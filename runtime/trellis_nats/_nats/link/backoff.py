"""Exponential backoff with jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta

__all__ = ["Backoff"]


@dataclass(slots=True)
class Backoff:
    """A wait that grows by half from `first` to `longest`. Jitter shortens each by up to a half.

    The jitter keeps a thousand workers that lost one server from reconnecting at the same moment.
    """

    first: timedelta
    longest: timedelta
    _failures: int = field(default=0, init=False)

    def next(self) -> timedelta:
        """Return the wait before the next attempt, and count it."""
        # 1.5**30 times `first` exceeds every `longest`; the bound keeps the power small after days of failures.
        wait = min(self.longest, self.first * 1.5 ** min(self._failures, 30))
        self._failures += 1
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter need not be secret

    def reset(self) -> None:
        """Start with `first` again."""
        self._failures = 0
