"""The health of one service: its checks, and what they find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats.clock import now
from trellis_nats.errors import ConfigurationError
from trellis_nats.health.consumer_health import ConsumerHealth
from trellis_nats.health.link_check import check_link
from trellis_nats.health.report import CheckResult, HealthReport, conclude
from trellis_nats.health.user_check import CheckFunction, UserCheck

__all__ = ["Health", "Phase"]

_LOOK_EVERY: Final = 30.0
"""Seconds between looks at each consumer when nobody asks (faults.md, B.2)."""
_QUEUES: Final = "jobs."
_BUILT_IN: Final = ("nats", "service")


class Phase(Enum):
    """Where a service is between its start and its end."""

    IDLE = "the service is not started"
    STARTING = "the service is starting"
    WORKING = "the service works"
    STOPPING = "the service is stopping"
    STOPPED = "the service is stopped"


class Health:
    """Whether a service is well, and ready: whether it would do work if there were any.

    Built in are the checks `nats` (the connection), `service` (started, not stopping) and `jobs.<queue>` for each queue
    that is worked (consuming).
    """

    def __init__(self) -> None:
        self.address: str | None = None
        """Where `Options.health_listen` made it listen, as `host:port`; None when it does not."""
        self._connection: Connection | None = None
        self._phase = Phase.IDLE
        self._own: dict[str, UserCheck] = {}
        self._queues: list[ConsumerHealth] = []
        self._looking: asyncio.Task[None] | None = None

    def check(
        self,
        name: str,
        function: CheckFunction,
        *,
        timeout: timedelta = timedelta(seconds=2),
        critical: bool = True,
    ) -> None:
        """Add a check of your own, run at each report, but once a second at most; a plain function runs in a thread.

        It fails by raising, by returning False, or by taking longer than `timeout`; a text that it returns is its
        summary. Orchestrators see what it raises: put no secret there. When a critical check fails the service is
        unhealthy and not ready; when another one fails it is degraded.

        Raises:
            ConfigurationError: the name is empty, built in or taken, or the timeout is not positive.
        """
        if not name or name in _BUILT_IN or name.startswith(_QUEUES):
            raise ConfigurationError(f'a health check may not be called "{name}"')
        if name in self._own:
            raise ConfigurationError(f'there is a health check "{name}" already')
        if timeout <= timedelta(0):
            raise ConfigurationError(f'health check "{name}": a timeout of {timeout} leaves no time')
        self._own[name] = UserCheck(name, function, timeout=timeout, critical=critical)

    async def report(self) -> HealthReport:
        """Run all checks, side by side, and return what they found. No check raises."""
        checks = await asyncio.gather(
            self._check_service(),
            check_link(self._connection),
            *(queue.check(self._connection) for queue in self._queues if self._connection is not None),
            *(own.run() for own in self._own.values()),
        )
        return conclude(checks, now())

    def attach(self, connection: Connection) -> None:
        """Learn of the connection."""
        self._connection = connection

    def enter(self, phase: Phase) -> None:
        """Learn that the service has come further."""
        self._phase = phase
        if phase is Phase.STOPPED:
            for own in self._own.values():
                own.stop()

    def watch(self, queue: ConsumerHealth) -> Callable[[], None]:
        """Watch a queue's worker from now on. Returns what ends that."""
        self._queues.append(queue)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_regularly(), name="health: looking at consumers")

        def unwatch() -> None:
            if queue in self._queues:
                self._queues.remove(queue)
            if not self._queues and self._looking is not None:
                self._looking.cancel()
                self._looking = None

        return unwatch

    async def _check_service(self) -> CheckResult:
        # Workers that were started on their own make a service of nothing else.
        ok = self._phase is Phase.WORKING or (self._phase is Phase.IDLE and bool(self._queues))
        return CheckResult(
            name="service",
            ok=ok,
            latency=timedelta(0),
            error=None if ok else self._phase.value,
            critical=False,
        )

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            for queue in tuple(self._queues):
                if self._connection is not None:
                    await queue.look(self._connection)
