"""The health of one service: its checks, and what they report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats.clock import now
from trellis_nats.errors import ConfigurationError
from trellis_nats.errors.configuration import require_timedelta
from trellis_nats.health.consumer_health import ConsumerHealth
from trellis_nats.health.link_check import check_link
from trellis_nats.health.report import CheckResult, HealthReport, conclude
from trellis_nats.health.user_check import CheckFunction, UserCheck

__all__ = ["Health", "Phase"]

_REFRESH_EVERY: Final = 30.0
"""Seconds between requests for the state of each consumer when no report is made (faults.md, B.2)."""
_BUILT_IN: Final = ("nats", "service", "control-plane")


class Phase(Enum):
    """The phase of a service between its start and its end."""

    IDLE = "the service is not started"
    STARTING = "the service is starting"
    WORKING = "the service is running"
    STOPPING = "the service is stopping"
    STOPPED = "the service is stopped"


class Health:
    """Whether a service is healthy, and ready: whether it would do work if there were any.

    Built in are the checks `nats` (the connection), `service` (started, not stopping; not in a client), `jobs.<queue>` for
    each queue that this process works (consuming, and able to store the outcome) and, after `join`, `control-plane`.
    """

    def __init__(self, *, is_client: bool = False) -> None:
        self.address: str | None = None
        """Where probes are answered, as `host:port`; None without `Options.health_listen`."""
        self._is_client = is_client
        self._connection: Connection | None = None
        self._phase = Phase.IDLE
        self._limits: str | None = None
        self._user_checks: dict[str, UserCheck] = {}
        self._reserved: list[str] = []
        self._followed: list[Callable[[], CheckResult]] = []
        self._consumers: list[ConsumerHealth] = []
        self._refreshing: asyncio.Task[None] | None = None

    def check(
        self,
        name: str,
        function: CheckFunction,
        *,
        timeout: timedelta = timedelta(seconds=2),
        critical: bool = True,
    ) -> None:
        """Add your own check. It runs for each report, but at most once a second; a plain function runs in a thread.

        It fails by raising, by returning False, or by taking longer than `timeout`; a text that it returns is its
        summary. The text of what it raises is in the report: put no secret there. When a critical check fails the
        service is unhealthy and not ready; when another check fails it is degraded.

        Raises:
            ConfigurationError: the name is empty, built in or in use, or the timeout is not positive.
        """
        if not name or name in _BUILT_IN or name.startswith(tuple(self._reserved)):
            raise ConfigurationError(
                f'"{name}" is not a valid name for a health check: it is empty or built in'
            )
        if name in self._user_checks:
            raise ConfigurationError(f'a health check "{name}" exists already')
        require_timedelta(f'health check "{name}": timeout', timeout)
        if timeout <= timedelta(0):
            raise ConfigurationError(f'health check "{name}": the timeout must be positive, got {timeout}')
        self._user_checks[name] = UserCheck(name, function, timeout=timeout, critical=critical)

    async def report_connected(self) -> HealthReport:
        """Return a report that does not mind that the service is not started yet."""
        report = await self.report()
        unstarted = {Phase.IDLE.value, Phase.STARTING.value}
        return conclude(
            (check for check in report.checks if check.name != "service" or check.error not in unstarted),
            report.at,
        )

    async def report(self) -> HealthReport:
        """Run all checks concurrently, and return what they report. It never raises what a check raises."""
        if self._connection is not None:
            self._connection.require_own_loop()
        checks = await asyncio.gather(
            *(() if self._is_client else (self._check_service(),)),
            check_link(self._connection),
            *(
                consumer.check(self._connection)
                for consumer in self._consumers
                if self._connection is not None
            ),
            *(check.run() for check in self._user_checks.values()),
        )
        return conclude((*(check() for check in self._followed), *checks), now())

    def attach(self, connection: Connection) -> None:
        """Set the connection."""
        self._connection = connection

    def enter(self, phase: Phase) -> None:
        """Set the phase of the service."""
        self._phase = phase
        if phase is Phase.STOPPED:
            for check in self._user_checks.values():
                check.stop()

    def follow(self, check: Callable[[], CheckResult]) -> None:
        """Add a built-in check whose result is known without asking."""
        self._followed.append(check)

    def limit(self, reason: str | None) -> None:
        """Say in the check `service` why the service does less than it could, though it works. None: it does all."""
        self._limits = reason

    def reserve(self, prefix: str) -> None:
        """Reserve the names that begin with a prefix for the checks of a surface."""
        self._reserved.append(prefix)

    def watch(self, consumer: ConsumerHealth) -> Callable[[], None]:
        """Report on a consumer until the returned function is called."""
        self._consumers.append(consumer)
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh_regularly(), name="health: consumers")

        def unwatch() -> None:
            if consumer in self._consumers:
                self._consumers.remove(consumer)
            if not self._consumers and self._refreshing is not None:
                self._refreshing.cancel()
                self._refreshing = None

        return unwatch

    async def _check_service(self) -> CheckResult:
        # `start_workers` does not start the service: running workers are enough then.
        ok = self._phase is Phase.WORKING or (self._phase is Phase.IDLE and bool(self._consumers))
        return CheckResult(
            name="service",
            ok=ok,
            latency=timedelta(0),
            error=None if ok else self._phase.value,
            summary=self._limits,
            critical=False,
        )

    async def _refresh_regularly(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_EVERY)
            for consumer in tuple(self._consumers):
                if self._connection is not None:
                    await consumer.refresh(self._connection)
