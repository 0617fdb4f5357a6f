"""Reports for handlers that run in a thread and cannot `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeVar

__all__ = ["BlockingReports"]

T = TypeVar("T")


class BlockingReports:
    """The reports of an active job, for plain `def` handlers. Each returns once it is stored."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        progress: Callable[..., Coroutine[Any, Any, None]],  # Any: what a coroutine sends and takes
        log: Callable[..., Coroutine[Any, Any, None]],  # likewise
    ) -> None:
        self._loop = loop
        self._progress = progress
        self._log = log

    def progress(
        self,
        *,
        step: str | None = None,
        message: str | None = None,
        current: int | None = None,
        total: int | None = None,
    ) -> None:
        """Report the handler's progress, as `ActiveJob.progress` does."""
        self.run(self._progress(step=step, message=message, current=current, total=total))

    def log(self, message: str, *, level: Literal["info", "warn", "error"] = "info") -> None:
        """Write a line into the job's history, as `ActiveJob.log` does."""
        self.run(self._log(message, level=level))

    def run(self, awaitable: Awaitable[T]) -> T:
        """Await something on the service's event loop, for instance `queue.create(payload)`, and return its result.

        Raises:
            RuntimeError: it was called on the event loop itself, which would wait for itself indefinitely.
        """
        if _running_loop() is self._loop:
            raise RuntimeError("job.blocking is for plain `def` handlers; here, use await")

        async def awaited() -> T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
