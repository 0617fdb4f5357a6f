"""A check that a user added: run in bounded time, never twice at once, whatever it does."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from trellis_nats._support.threads import run_in_thread
from trellis_nats.health.report import CheckResult

__all__ = ["CheckFunction", "UserCheck"]

_log = logging.getLogger(__name__)

_FRESH: Final = 1.0
"""Seconds that a result counts: many who ask shall not make much work for what is checked."""
_TEXT_MAX: Final = 500
"""Characters of an error or summary: enough for a sentence, and no dump for whoever reads the probe's answer."""

CheckFunction = Callable[[], Awaitable[str | bool | None] | str | bool | None]
"""Fails by raising or by returning False; a returned text is the summary."""


class UserCheck:
    """One check of the user's."""

    def __init__(self, name: str, function: CheckFunction, *, timeout: timedelta, critical: bool) -> None:
        self.name = name
        self._function = function
        self._timeout = timeout
        self._critical = critical
        self._is_async = inspect.iscoroutinefunction(function)
        self._running: asyncio.Task[str | bool | None] | None = None
        self._last: CheckResult | None = None
        self._last_at = 0.0

    async def run(self) -> CheckResult:
        """Run the check, unless it ran within the last second, or the last run still goes on."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._last is not None and began - self._last_at < _FRESH:
            return self._last
        error, summary = await self._outcome()
        self._last_at = began
        self._last = CheckResult(
            name=self.name,
            ok=error is None,
            latency=timedelta(seconds=loop.time() - began),
            error=None if error is None else error[:_TEXT_MAX],
            summary=None if summary is None else summary[:_TEXT_MAX],
            critical=self._critical,
            needed=self._critical,
        )
        return self._last

    def stop(self) -> None:
        """Cancel a run that goes on."""
        if self._running is not None:
            self._running.cancel()

    async def _outcome(self) -> tuple[str | None, str | None]:
        if self._running is not None:
            return "an earlier run of this check has not ended yet", None
        self._running = asyncio.create_task(self._call(), name=f"health check {self.name}")
        self._running.add_done_callback(self._ended)
        running = self._running
        try:
            await asyncio.wait((running,), timeout=self._timeout.total_seconds())
        finally:
            if (
                self._is_async
            ):  # a thread cannot be cancelled: it is left, and not started again before it has ended
                running.cancel()
        if not running.done():
            return f"no answer within {self._timeout.total_seconds():g} s", None
        if running.cancelled():
            return "the check was cancelled", None
        raised = running.exception()
        if raised is not None:
            return f"{type(raised).__name__}: {raised}", None
        value = running.result()
        if value is False:
            return "the check returned False", None
        return None, value if isinstance(value, str) else None

    async def _call(self) -> str | bool | None:
        if self._is_async:
            value = self._function()
        else:
            value = await run_in_thread(lambda _: self._function(), None)
        return await value if inspect.isawaitable(value) else value

    def _ended(self, task: asyncio.Task[str | bool | None]) -> None:
        self._running = None
        if not task.cancelled() and (raised := task.exception()) is not None:
            _log.debug("health check %s failed", self.name, exc_info=raised)
