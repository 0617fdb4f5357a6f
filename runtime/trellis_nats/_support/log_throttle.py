"""Limits repeated log lines: one of a kind is written each second, with the number of suppressed ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from time import monotonic
from typing import Final

__all__ = ["LogThrottle"]

_EVERY: Final = timedelta(seconds=1)
_KINDS_MAX: Final = 256
"""How many kinds are remembered; beyond that, the one written longest ago is forgotten."""


class LogThrottle:
    """Writes log lines that may repeat for every message, so that the log stays readable when all of them fail."""

    def __init__(
        self, log: logging.Logger, *, every: timedelta = _EVERY, clock: Callable[[], float] = monotonic
    ) -> None:
        """Prepare; `every` is the time between two lines of one kind."""
        self._log = log
        self._seconds = every.total_seconds()
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}
        """When the last line of a kind was written, and how many were suppressed since; the newest at the end."""

    def write(
        self, level: int, kind: str, text: str, *args: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Write a line, or suppress it: it is then logged at level DEBUG and counted in the next one of its kind."""
        at = self._clock()
        written_at, suppressed = self._kinds.get(kind, (-math.inf, 0))
        if at - written_at < self._seconds:
            self._kinds[kind] = (written_at, suppressed + 1)
            self._log.debug(text, *args, stacklevel=2, extra=extra)
            return
        self._kinds.pop(kind, None)
        self._kinds[kind] = (at, 0)
        if len(self._kinds) > _KINDS_MAX:
            self._kinds.pop(next(iter(self._kinds)))
        if suppressed:
            text, args = f"{text} (and %d more since the last such line)", (*args, suppressed)
        self._log.log(level, text, *args, stacklevel=2, extra=extra)
