"""The time that running work gets after a stop began. It can be ended early."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

__all__ = ["GracePeriod"]

_SETTLE_AFTER_END: Final = timedelta(seconds=2)
"""Releasing a job takes milliseconds; without a connection, waiting longer would not help."""


class GracePeriod:
    """The time that running handlers have to finish, shared by all surfaces of a service."""

    def __init__(self, length: timedelta) -> None:
        """Prepare; the period begins with the call of `wait`."""
        self.length: Final = length
        """How long it is, unless it is ended."""
        self._over = asyncio.Event()

    def end(self) -> None:
        """End the period now."""
        self._over.set()

    async def wait(self, tasks: Collection[asyncio.Task[Any]]) -> None:  # Any: the result is not used
        """Return when all tasks have ended, or the period is over."""
        await self._until(tasks, self.length)

    async def settle(self, tasks: Collection[asyncio.Task[Any]], limit: timedelta) -> None:  # Any: likewise
        """Return when all tasks, which were cancelled, have ended, or after `limit`; after 2 s when `end` was called."""
        await self._until(tasks, limit)
        if tasks and self._over.is_set():
            await asyncio.wait(tasks, timeout=min(limit, _SETTLE_AFTER_END).total_seconds())

    async def _until(self, tasks: Collection[asyncio.Task[Any]], limit: timedelta) -> None:  # Any: likewise
        if not tasks or self._over.is_set():
            return
        over = asyncio.create_task(self._over.wait())
        ended = asyncio.create_task(_all_ended(tasks))
        try:
            await asyncio.wait(
                (over, ended), timeout=limit.total_seconds(), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            over.cancel()
            ended.cancel()


async def _all_ended(tasks: Collection[asyncio.Task[Any]]) -> None:  # Any: likewise
    while running := [task for task in tasks if not task.done()]:
        await asyncio.wait(running)
