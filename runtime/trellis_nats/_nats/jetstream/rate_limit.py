"""Keeps a duty from pressing the server: so many messages in a second, and no more."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["RateLimit"]

PER_SECOND_DEFAULT: Final = 20_000
"""About a fifth of what one client can list from a server on the same two cores (docs/decisions/0009)."""


class RateLimit:
    """A rate that is kept by waiting."""

    def __init__(self, per_second: int = PER_SECOND_DEFAULT) -> None:
        self._per_second = per_second
        self._free_at = 0.0

    async def spend(self, amount: int) -> None:
        """Wait until what was spent before is paid for, then spend."""
        loop = asyncio.get_running_loop()
        wait = self._free_at - loop.time()
        self._free_at = max(self._free_at, loop.time()) + amount / self._per_second
        if wait > 0:
            await asyncio.sleep(wait)
