"""Warns when the wall clock of this process is wrong. Delays, deadlines and the times of events depend on it.

Ack waits and leases do not: the server measures the former, and the monotonic clock the latter. So a wrong clock loses
no job, but jobs begin and expire at the wrong time, and nothing else would show why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now
from trellis_nats.errors import TransportError

__all__ = ["ClockSkew", "difference"]

_log = logging.getLogger(__name__)

_NOTABLE: Final = timedelta(seconds=1)
"""Time daemons keep machines within milliseconds, and adjust a clock by less than a millisecond per second."""
_EVERY: Final = timedelta(seconds=1)
_ANSWER_WITHIN: Final = timedelta(seconds=2)
_ZERO: Final = timedelta(0)


class ClockSkew:
    """Watches the wall clock of this process, and logs when it jumps or differs from the server's."""

    def __init__(
        self,
        stream: str,
        consumer: str,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; the server's time comes with the information about the consumer."""
        self._stream = stream
        self._consumer = consumer
        self._wall = wall
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()

    async def watch(self, connection: Connection, thread: ProgressThread) -> None:
        """Compare the clock with the server's now and after each jump, for as long as the thread runs."""
        await self.compare(connection)
        thread.repeat(self.check_jump, _EVERY)

    async def check_jump(self, connection: Connection) -> None:
        """Log a jump since the last call, and compare the clock with the server's after it."""
        jump = self.jump()
        if jump:
            fields = log_fields(LogEvent.CLOCK_JUMPED)
            _log.warning("the clock of this machine jumped by %s", format_jump(jump), extra=fields)
            await self.compare(connection)

    def jump(self) -> timedelta:
        """Return how far the clock has jumped since the last call; zero for less than a second."""
        ahead = self._wall() - self._monotonic()
        jump = timedelta(seconds=ahead - self._ahead)
        self._ahead = ahead
        return jump if abs(jump) >= _NOTABLE else _ZERO

    async def compare(self, connection: Connection) -> None:
        """Log by how much the clock differs from the server's. Do nothing when the server does not answer."""
        asked_at = now()
        try:
            info = await get_consumer_info(connection, self._stream, self._consumer, timeout=_ANSWER_WITHIN)
        except TransportError as error:
            fields = log_fields(LogEvent.CLOCK_NOT_COMPARED)
            _log.debug("cannot compare the clock with the server's: %s", error, extra=fields)
            return
        servers = None if info is None else info.server_time
        away = _ZERO if servers is None else difference(asked_at, servers, now())
        if away:
            text = "the clock of this machine is %s %s the server's: delays and deadlines are off by as much"
            fields = log_fields(LogEvent.CLOCK_SKEWED)
            _log.warning(text, abs(away), "ahead of" if away > _ZERO else "behind", extra=fields)


def difference(asked_at: datetime, servers: datetime, answered_at: datetime) -> timedelta:
    """Return by how much a clock is certainly ahead of a server's, negative when behind; zero when it may be right.

    The server read its clock at some moment between the request and the answer, both timed by the clock in question.
    """
    if asked_at - servers >= _NOTABLE:
        return asked_at - servers
    if servers - answered_at >= _NOTABLE:
        return answered_at - servers
    return _ZERO


def format_jump(jump: timedelta) -> str:
    """Write a jump with its sign: Python writes -1 s as `-1 day, 23:59:59`."""
    return f"{'-' if jump < _ZERO else '+'}{abs(jump)}"
