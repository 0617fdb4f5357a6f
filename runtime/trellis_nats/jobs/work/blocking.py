"""Reports for handlers that run in a thread and cannot `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from pydantic import BaseModel, JsonValue

from trellis_nats.blocking import Blocking

__all__ = ["BlockingReports"]


class BlockingReports(Blocking):
    """The reports of an active job, for plain `def` handlers. Each returns once it is stored."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        is_forked: Callable[[], bool],
        *,
        progress: Callable[..., Coroutine[Any, Any, None]],  # Any: what a coroutine sends and takes
        log: Callable[..., Coroutine[Any, Any, None]],  # likewise
        checkpoint: Callable[[BaseModel | JsonValue], Coroutine[Any, Any, None]],  # likewise
    ) -> None:
        super().__init__(loop, is_forked)
        self._checkpoint = checkpoint
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

    def checkpoint(self, value: BaseModel | JsonValue) -> None:
        """Store what the next attempt needs to continue, as `ActiveJob.checkpoint` does."""
        self.run(self._checkpoint(value))
