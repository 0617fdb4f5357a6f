"""A clock that a test moves: what waits is due without waiting."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import ClassVar, NamedTuple

from typing_extensions import override

from trellis_nats.clock import Clock, now

__all__ = ["TestClock"]

_ZERO = timedelta(0)


class _Wait(NamedTuple):
    what: str
    due: datetime
    moved: asyncio.Event


class TestClock(Clock):
    """Runs like the machine's clock, and ahead of it by what a test has added.

    Delays, backoff and deadlines of jobs follow it, and the backoff of event groups: what waits is held in this process until
    the clock has reached its time. It cannot move the clock of the server, and so neither ack waits nor schedules, leases of
    keys, the rescue of lost jobs, retention or the age limit of a bucket. Timeouts of calls and handlers, and what handlers
    sleep, pass in real time.
    """

    __test__: ClassVar[bool] = False  # pytest: not a class with tests
    waits_here: ClassVar[bool] = True

    def __init__(self) -> None:
        self._moves: list[tuple[datetime, timedelta]] = []
        """When it was moved, by the machine's clock, and how far ahead it was from then on."""
        self._waits: list[_Wait] = []

    @property
    @override
    def ahead(self) -> timedelta:
        """By how much the test has moved it."""
        return self._moves[-1][1] if self._moves else _ZERO

    @override
    def now(self) -> datetime:
        """Return what the clock shows."""
        return now() + self.ahead

    @override
    def at(self, instant: datetime) -> datetime:
        """Return what the clock showed at an instant of the machine's clock that has passed."""
        ahead = next((total for moved_at, total in reversed(self._moves) if moved_at < instant), _ZERO)
        return instant + ahead

    def advance(self, by: timedelta) -> None:
        """Move the clock forward. What is due then goes on: a job that waits for its retry, for example.

        Raises:
            ValueError: the duration is negative.
        """
        if by < _ZERO:
            raise ValueError(f"the clock cannot go back: {by}")
        self._moves.append((datetime.now(UTC), self.ahead + by))
        for wait in self._waits:
            wait.moved.set()

    @property
    def waiting(self) -> dict[str, datetime]:
        """What waits for this clock, and until when: jobs by their ids, events by group and sequence."""
        return {wait.what: wait.due for wait in self._waits}

    @override
    async def wait(self, stopping: asyncio.Event, delay: timedelta, *, what: str) -> None:
        """Wait until the clock has moved by a delay, or until `stopping` is set."""
        wait = _Wait(what, self.now() + delay, asyncio.Event())
        self._waits.append(wait)
        stopped = asyncio.create_task(stopping.wait())
        try:
            while not stopped.done() and (left := wait.due - self.now()) > _ZERO:
                wait.moved.clear()
                moved = asyncio.create_task(wait.moved.wait())
                await asyncio.wait(
                    (stopped, moved), timeout=left.total_seconds(), return_when=asyncio.FIRST_COMPLETED
                )
                moved.cancel()
        finally:
            stopped.cancel()
            self._waits.remove(wait)
