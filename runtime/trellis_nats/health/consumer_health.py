"""Checks that a consumer delivers messages to this process: compares the reports of its puller and of the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.pull import PullState
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import TransportError
from trellis_nats.health.consumer_problem import Problem, find_problem
from trellis_nats.health.report import CheckResult

__all__ = ["ConsumerHealth"]

_log = logging.getLogger(__name__)

_REQUEST_WITHIN: Final = timedelta(seconds=2)
"""How long a request for the consumer's state may take: probes wait for it."""
_FRESH: Final = 5.0
"""Seconds for which the server's report on an idle consumer counts: a pause must show within 10 s to a probe that asks
every 5 s. Without probes, and while messages arrive, the server is asked only every 30 s."""


class ConsumerHealth:
    """The check of one consumer, from the reports of its puller and of the server."""

    def __init__(
        self,
        name: str,
        *,
        stream: str,
        consumer: str,
        has_free_capacity: Callable[[], bool],
        on_report: Callable[[ConsumerInfo], object] | None = None,
        find_write_problem: Callable[[], Awaitable[str | None]] | None = None,
        describe_pause: Callable[[], str | None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            name: the name of the check.
            stream: the consumer's stream.
            consumer: its durable name.
            has_free_capacity: returns whether this process could take one more message now.
            on_report: called with each report of the server: an operator may change a consumer at any time.
            find_write_problem: returns why what is done with messages cannot be stored, None when it can. Without it,
                nothing is stored.
            describe_pause: returns why nothing is delivered on purpose, None while there is no such reason. It is the
                summary of a check that passes.
        """
        self.name = name
        self._stream = stream
        self._consumer = consumer
        self._has_free_capacity = has_free_capacity
        self._on_report = on_report
        self._find_write_problem = find_write_problem
        self._describe_pause = describe_pause
        self._state = PullState(consuming=False, reason="not started")
        self._has_report = False
        self._info: ConsumerInfo | None = None
        self._previous: ConsumerInfo | None = None
        self._confirmed_at: float | None = None
        """The monotonic time of the last report, or of the last message, which proves more."""
        self._logged: Problem | None = None

    def on_state(self, state: PullState) -> None:
        """Take the state of the puller. Older reports of the server no longer count."""
        self._state = state
        self._discard_reports()

    def on_message(self) -> None:
        """Take note that a message was delivered."""
        self._confirmed_at = monotonic()
        self._discard_reports()

    def on_pause_change(self) -> None:
        """Take note that deliveries were paused or resumed on purpose. Older reports of the server no longer count."""
        self._confirmed_at = None
        self._discard_reports()

    async def check(self, connection: Connection) -> CheckResult:
        """Return whether messages would be delivered, and their outcome stored; ask the server when its last report is too old."""
        began = monotonic()
        if self._needs_refresh(began):
            await self.refresh(connection)
        problem = self.problem
        if problem is None and self._find_write_problem is not None and connection.is_connected:
            unwritable = await self._find_write_problem()
            problem = None if unwritable is None else Problem(unwritable)
        return CheckResult(
            name=self.name,
            ok=problem is None,
            latency=timedelta(seconds=monotonic() - began),
            error=None if problem is None else problem.reason,
            summary=self._paused_because,
            critical=problem is None or problem.critical,
            needed=problem is None or problem.needed,
        )

    async def refresh(self, connection: Connection) -> None:
        """Ask the server about the consumer, unless the puller already knows why it does not consume."""
        if not self._state.consuming or not connection.is_connected:
            return
        state = self._state
        self._confirmed_at = monotonic()
        try:
            async with asyncio.timeout(_REQUEST_WITHIN.total_seconds()):
                info = await get_consumer_info(connection, self._stream, self._consumer)
        except (TransportError, TimeoutError) as error:
            _log.debug(
                "%s: the server does not report on consumer %s: %s",
                self.name,
                self._consumer,
                error,
                extra=self._log_fields(LogEvent.CONSUMER_SILENT),
            )
            return
        if info is not None and self._on_report is not None:
            self._on_report(info)
        if self._state is state:
            self._previous, self._info, self._has_report = self._info, info, True
            self._log_change()

    @property
    def problem(self) -> Problem | None:
        """Why no message would be delivered, as far as is known; None when one would."""
        if not self._state.consuming:
            return Problem(self._state.reason or "not consuming")
        if not self._has_report:
            return None
        if self._paused_because is not None and self._info is not None:
            return None
        return find_problem(self._info, self._previous, has_free_capacity=self._has_free_capacity())

    @property
    def _paused_because(self) -> str | None:
        return None if self._describe_pause is None else self._describe_pause()

    def _needs_refresh(self, now: float) -> bool:
        return self._confirmed_at is None or (
            self._has_free_capacity() and now - self._confirmed_at >= _FRESH
        )

    def _discard_reports(self) -> None:
        self._has_report = False
        self._info = self._previous = None

    def _log_change(self) -> None:
        """Log what the server reports, once: the puller does not know it."""
        problem, logged = self.problem, self._logged
        self._logged = problem
        if problem is None:
            if logged is not None:
                _log.info(
                    "%s: messages are delivered again",
                    self.name,
                    extra=self._log_fields(LogEvent.CONSUMER_RECOVERED),
                )
        elif logged is None or (logged.critical, logged.needed) != (problem.critical, problem.needed):
            _log.warning(
                "%s: no messages are delivered: %s",
                self.name,
                problem.reason,
                extra=self._log_fields(LogEvent.CONSUMER_BLOCKED),
            )

    def _log_fields(self, event: LogEvent) -> dict[str, object]:
        return log_fields(event, stream=self._stream, consumer=self._consumer)
