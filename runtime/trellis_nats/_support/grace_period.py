"""How long what runs may go on after a stop began; it can be cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

__all__ = ["GracePeriod"]

_HURRIED_SETTLING: Final = timedelta(seconds=2)
"""A release is written in milliseconds; when NATS is away, waiting longer would not help."""


class GracePeriod:
    """The time that running handlers are given, once for all workloads of a service."""

    def __init__(self, length: timedelta) -> None:
        """Prepare; the time runs from the call of `wait`."""
        self._length = length
        self._over = asyncio.Event()

    def end(self) -> None:
        """Let it be over now."""
        self._over.set()

    async def wait(self, tasks: Collection[asyncio.Task[Any]]) -> None:  # Any: a result that nobody looks at
        """Return when all tasks have ended, or the time is over."""
        await self._until(tasks, self._length)

    async def settle(self, tasks: Collection[asyncio.Task[Any]], limit: timedelta) -> None:  # Any: likewise
        """Return when all tasks, told to end, have ended, or `limit` has passed; 2 s when `end` was called."""
        await self._until(tasks, limit)
        if tasks and self._over.is_set():
            await asyncio.wait(tasks, timeout=min(limit, _HURRIED_SETTLING).total_seconds())

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
