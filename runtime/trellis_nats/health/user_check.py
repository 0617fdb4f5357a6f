"""A check that the program added: it runs in bounded time, and never twice at once."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.threads import run_in_thread
from trellis_nats.health.report import CheckResult

__all__ = ["CheckFunction", "UserCheck"]

_log = logging.getLogger(__name__)

_FRESH: Final = 1.0
"""Seconds for which a result counts: many probes must not put load on what is checked."""
_TEXT_MAX: Final = 500
"""Characters of an error or summary: enough for a sentence; a dump does not belong in the answer to a probe."""

CheckFunction = Callable[[], Awaitable[str | bool | None] | str | bool | None]
"""It fails by raising or by returning False; a returned text is the summary."""


class UserCheck:
    """One check of the program."""

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
        """Run the check, unless it ran within the last second, or its last run has not ended."""
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
            error=None if error is None else _shorten(error),
            summary=None if summary is None else _shorten(summary),
            critical=self._critical,
            needed=self._critical,
        )
        return self._last

    def stop(self) -> None:
        """Cancel a run that has not ended."""
        if self._running is not None:
            self._running.cancel()

    async def _outcome(self) -> tuple[str | None, str | None]:
        if self._running is not None:
            return "an earlier run of this check has not ended", None
        self._running = asyncio.create_task(self._call(), name=f"health check {self.name}")
        self._running.add_done_callback(self._on_end)
        running = self._running
        try:
            await asyncio.wait((running,), timeout=self._timeout.total_seconds())
        finally:
            # A thread cannot be cancelled: it runs on, and the check is not started again before it ends.
            if self._is_async:
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
            value = await run_in_thread(lambda _: self._function(), None, name=f"health check {self.name}")
        return await value if inspect.isawaitable(value) else value

    def _on_end(self, task: asyncio.Task[str | bool | None]) -> None:
        self._running = None
        if not task.cancelled() and (raised := task.exception()) is not None:
            _log.debug(
                "health check %s failed",
                self.name,
                exc_info=raised,
                extra=log_fields(LogEvent.CHECK_FAILED),
            )


def _shorten(text: str) -> str:
    """Cut a text, and replace what is not Unicode, such as bytes of a file name: it could not be sent."""
    return text[:_TEXT_MAX].encode(errors="replace").decode()
