"""Whether the wall clock of this process is right. Delays, deadlines and the times of events go by it.

Ack waits and leases do not: those are the server's, and of the monotonic clock. So a wrong clock loses nothing, but
lets jobs begin and expire at the wrong time, which nobody would find out without being told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._nats.jetstream.streams import consumer_info
from trellis_nats.clock import now
from trellis_nats.errors import TransportError

__all__ = ["ClockSkew", "difference"]

_log = logging.getLogger(__name__)

_NOTABLE: Final = timedelta(seconds=1)
"""Time daemons keep machines within milliseconds, and turn a clock by less than a millisecond in a second."""
_EVERY: Final = timedelta(seconds=1)
_ANSWER_WITHIN: Final = timedelta(seconds=2)
_ZERO: Final = timedelta(0)


class ClockSkew:
    """Watches the wall clock of this process, and says in the log when it jumps or is not the server's."""

    def __init__(
        self,
        stream: str,
        consumer: str,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; the server tells its own time with what it tells about the consumer."""
        self._stream = stream
        self._consumer = consumer
        self._wall = wall
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()

    async def watch(self, connection: Connection, thread: ProgressThread) -> None:
        """Compare the clock with the server's now and after each jump, for as long as the thread runs."""
        await self.compare(connection)
        thread.repeat(self.look, _EVERY)

    async def look(self, connection: Connection) -> None:
        """Say whether the clock has jumped since the last look."""
        jump = self.jump()
        if jump:
            _log.warning("the clock of this machine jumped by %s", signed(jump))
            await self.compare(connection)

    def jump(self) -> timedelta:
        """Return how far the clock has jumped since the last call; zero for what is not worth telling."""
        ahead = self._wall() - self._monotonic()
        jump = timedelta(seconds=ahead - self._ahead)
        self._ahead = ahead
        return jump if abs(jump) >= _NOTABLE else _ZERO

    async def compare(self, connection: Connection) -> None:
        """Say whether the clock is not the server's. Without an answer, nothing is said."""
        asked_at = now()
        try:
            info = await consumer_info(connection, self._stream, self._consumer, timeout=_ANSWER_WITHIN)
        except TransportError as error:
            _log.debug("the server does not tell its time: %s", error)
            return
        servers = None if info is None else info.server_time
        away = _ZERO if servers is None else difference(asked_at, servers, now())
        if away:
            text = "the clock of this machine is %s %s the server's: delays and deadlines are off by as much"
            _log.warning(text, abs(away), "ahead of" if away > _ZERO else "behind")


def difference(asked_at: datetime, servers: datetime, answered_at: datetime) -> timedelta:
    """Return by how much a clock is ahead of a server's for certain, negative when it is behind; zero when it may be right.

    The server read its clock at some moment between the question and the answer, both by the clock that is judged.
    """
    if asked_at - servers >= _NOTABLE:
        return asked_at - servers
    if servers - answered_at >= _NOTABLE:
        return answered_at - servers
    return _ZERO


def signed(jump: timedelta) -> str:
    """Write a jump with its sign: Python writes -1 s as `-1 day, 23:59:59`."""
    return f"{'-' if jump < _ZERO else '+'}{abs(jump)}"
