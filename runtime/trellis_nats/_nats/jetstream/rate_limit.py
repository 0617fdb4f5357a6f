"""Limits how much load maintenance puts on the server, in messages per second."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["RateLimit"]

PER_SECOND_DEFAULT: Final = 20_000
"""About a fifth of what one client can list from a server on the same two cores (docs/decisions/0009)."""


class RateLimit:
    """A rate limit that waits."""

    def __init__(self, per_second: int = PER_SECOND_DEFAULT) -> None:
        self._per_second = per_second
        self._free_at = 0.0

    async def spend(self, amount: int) -> None:
        """Wait until the amounts spent before fit the rate, then spend this one."""
        loop = asyncio.get_running_loop()
        wait = self._free_at - loop.time()
        self._free_at = max(self._free_at, loop.time()) + amount / self._per_second
        if wait > 0:
            await asyncio.sleep(wait)
