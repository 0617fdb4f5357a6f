"""Whether one queue's worker would be given work: what its pull engine says, checked against what the server says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.pull import PullState
from trellis_nats._nats.jetstream.streams import consumer_info
from trellis_nats.errors import TransportError
from trellis_nats.health.findings import Problem, explain
from trellis_nats.health.report import CheckResult

__all__ = ["ConsumerHealth"]

_log = logging.getLogger(__name__)

_LOOK: Final = timedelta(seconds=2)
"""How long a look may take: probes wait for it."""
_IDLE: Final = 5.0
"""Seconds that a look at an idle queue counts: a pause shall show within 10 s to a probe that asks every 5 s. Where
nobody asks, and where messages come, the server is asked every 30 s only."""


class ConsumerHealth:
    """One queue, as its worker and the server see it."""

    def __init__(
        self, queue: str, stream: str, consumer: str, *, has_free_capacity: Callable[[], bool]
    ) -> None:
        """Prepare.

        Args:
            queue: the name to report by.
            stream: the consumer's stream.
            consumer: its durable name.
            has_free_capacity: whether the worker could take one more message now.
        """
        self.name = f"jobs.{queue}"
        self._stream = stream
        self._consumer = consumer
        self._has_free_capacity = has_free_capacity
        self._state = PullState(consuming=False, reason="not started")
        self._has_looked = False
        self._info: ConsumerInfo | None = None
        self._previous: ConsumerInfo | None = None
        self._proven_at: float | None = None
        """The monotonic time of the last look, or of the last message, which proves more."""
        self._told: Problem | None = None

    def heard(self, state: PullState) -> None:
        """Take what the pull engine says about itself. It makes an older look at the server void."""
        self._state = state
        self._forget()

    def took(self) -> None:
        """Learn that a message was delivered."""
        self._proven_at = monotonic()
        self._forget()

    async def check(self, connection: Connection) -> CheckResult:
        """Say whether work would come, after a look at the server if the last one is too old."""
        began = monotonic()
        if self._wants_look(began):
            await self.look(connection)
        problem = self.problem
        return CheckResult(
            name=self.name,
            ok=problem is None,
            latency=timedelta(seconds=monotonic() - began),
            error=None if problem is None else problem.reason,
            critical=problem is None or problem.critical,
            needed=problem is None or problem.needed,
        )

    async def look(self, connection: Connection) -> None:
        """Ask the server about the consumer, unless the pull engine knows already why it does not consume."""
        if not self._state.consuming or not connection.is_connected:
            return
        asked_of = self._state
        self._proven_at = monotonic()
        try:
            async with asyncio.timeout(_LOOK.total_seconds()):
                info = await consumer_info(connection, self._stream, self._consumer)
        except (TransportError, TimeoutError) as error:
            _log.debug("%s: cannot look at the consumer: %s", self.name, error)
            return
        if self._state is asked_of:
            self._previous, self._info, self._has_looked = self._info, info, True
            self._tell()

    @property
    def problem(self) -> Problem | None:
        """Why no work would come, as far as is known; None when it would."""
        if not self._state.consuming:
            return Problem(self._state.reason or "not consuming")
        if not self._has_looked:
            return None
        return explain(self._info, self._previous, has_free_capacity=self._has_free_capacity())

    def _wants_look(self, now: float) -> bool:
        return self._proven_at is None or (self._has_free_capacity() and now - self._proven_at >= _IDLE)

    def _forget(self) -> None:
        self._has_looked = False
        self._info = self._previous = None

    def _tell(self) -> None:
        """Log what a look found, once: the pull engine does not know it."""
        problem, told = self.problem, self._told
        self._told = problem
        if problem is None:
            if told is not None:
                _log.info("%s: work would come again", self.name)
        elif told is None or (told.critical, told.needed) != (problem.critical, problem.needed):
            _log.warning("%s: no work comes: %s", self.name, problem.reason)
