"""Shares the event loop between tasks that always have something to do."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

__all__ = ["LoopShares"]

_TOGETHER: Final = 0.001
"""Seconds that such tasks work, all together, between two turns of everything else. A turn of the loop costs as much as
several frames of a feed: it asks the system what has arrived, writes what is queued, and wakes who reads it."""


class LoopShares:
    """The shares of tasks that would otherwise stop the event loop. Not thread-safe: they belong to one loop."""

    def __init__(self) -> None:
        self._pausing = 0

    async def pause(self) -> float:
        """Give all other tasks and callbacks a turn. Return when the caller has to pause again.

        That is a time of `time.monotonic`: the time of some event loops stands still while a task runs.
        """
        self._pausing += 1
        try:
            await asyncio.sleep(0)
        finally:
            self._pausing -= 1
        return monotonic() + _TOGETHER / (1 + self._pausing)
