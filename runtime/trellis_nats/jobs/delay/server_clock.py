"""The server's clock, as this process can tell it without asking again.

The waits between attempts are measured by it: the wall clocks of two workers may differ, and one may jump.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from trellis_nats.clock import now

__all__ = ["ServerClock"]


class ServerClock:
    """Continues the server's clock by the monotonic clock of this machine."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._observed: tuple[datetime, float] | None = None

    def observe(self, server_time: datetime | None) -> None:
        """Take the server's time, which it has just reported."""
        if server_time is not None:
            self._observed = server_time, self._monotonic()

    def now(self) -> datetime:
        """Return the server's time, late by at most the way of its report; this machine's where it reported none."""
        if self._observed is None:
            return now()
        reported, at = self._observed
        return reported + timedelta(seconds=self._monotonic() - at)
