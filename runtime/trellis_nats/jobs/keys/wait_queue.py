"""The jobs of one key that wait in this process, in the order in which they shall go."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection, Subscription
from trellis_nats._nats.wire.message import Message
from trellis_nats.jobs.keys.key_store import KeyStore
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, LeaseObservations, observe
from trellis_nats.jobs.keys.model.record import KeyRecord
from trellis_nats.jobs.keys.model.slots import COURTESY, ORDER
from trellis_nats.jobs.keys.model.template import JobKey

__all__ = ["WaitQueue", "WaitQueues", "Waiter"]

_POLL: Final = timedelta(seconds=1)
"""How often the first in line looks by itself: a change that was not heard, a lease that is over (jobs.md)."""
_LEFT_MAX: Final = 1024


@dataclass(slots=True, eq=False)
class Waiter:
    """One job that waits."""

    is_new: bool
    """Whether it was never tried. Those that were go first."""
    created_at: str
    job_id: str
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be a slot for it."""


@dataclass(slots=True)
class WaitQueue:
    """Who waits for one key, and what has been seen of its record meanwhile."""

    max_active: int
    record: KeyRecord | None = None
    observations: LeaseObservations = NO_OBSERVATIONS
    room_since: float | None = None
    """Since when a slot has been seen free, by the monotonic clock; None: none is."""
    waiters: list[Waiter] = field(default_factory=list[Waiter])

    def see(self, record: KeyRecord) -> None:
        """Take note of the record as it is now."""
        at = monotonic()
        if len(record.active) >= self.max_active:
            self.room_since = None
        elif self.room_since is None:
            self.room_since = at
        self.record, self.observations = record, observe(self.observations, record, at=at)

    def join(self, waiter: Waiter) -> None:
        """Stand in line."""
        self.waiters.append(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Leave the line; who is the first now may have a turn."""
        self.waiters.remove(waiter)
        self.call()

    def in_order(self) -> list[Waiter]:
        """Return those who wait: first those that were tried before, then as they stand in the record.

        A job that has a slot already was tried too, though its worker may have died before that was written.
        """
        queued, active = ((), ()) if self.record is None else (self.record.queued, self.record.active)
        places = {entry.job_id: place for place, entry in enumerate(queued)}
        owners = {slot.job_id for slot in active}
        last = len(places)

        def order(waiter: Waiter) -> tuple[bool, int, str, str]:
            is_new = waiter.is_new and waiter.job_id not in owners
            return is_new, places.get(waiter.job_id, last), waiter.created_at, waiter.job_id

        return sorted(self.waiters, key=order)

    def is_first(self, waiter: Waiter) -> bool:
        """Say whether nobody stands before it."""
        return self.in_order()[0] is waiter

    async def wait_turn(self, waiter: Waiter, until: float) -> None:
        """Wait for a change that was heard, and, as the first in line, for the time of the next look."""
        wait = until - monotonic()
        if self.is_first(waiter):
            wait = min(wait, _POLL.total_seconds() * random.uniform(0.8, 1.0))  # noqa: S311 - jitter is no secret
            record = self.record
            end = None if record is None else self.observations.next_end(record, at=monotonic())
            if end is not None:
                wait = min(wait, (end + COURTESY).total_seconds() + 0.001)
            left = ORDER.total_seconds() - (monotonic() - (self.room_since or 0.0))
            if left > 0:
                wait = min(wait, left + 0.001)
        try:
            async with asyncio.timeout(max(0.0, wait)):
                await waiter.turn.wait()
        except TimeoutError:
            return
        finally:
            waiter.turn.clear()

    def call(self) -> None:
        """Give the first one a turn."""
        if self.waiters:
            self.in_order()[0].turn.set()

    def call_after(self, waiter: Waiter) -> None:
        """Give the next one a turn: what keeps this one waiting need not keep the others."""
        order = self.in_order()
        place = order.index(waiter) + 1
        if place < len(order):
            order[place].turn.set()


class WaitQueues:
    """The lines of one queue in this process. A key has one for as long as somebody waits for it."""

    def __init__(self, connection: Connection, store: KeyStore, *, max_active: int) -> None:
        self._connection = connection
        self._store = store
        self._max_active = max_active
        self._lines: dict[str, tuple[WaitQueue, Subscription]] = {}
        self._left: OrderedDict[str, LeaseObservations] = OrderedDict()
        """What was seen of keys that nobody waits for just now: a lease runs on while a history is read again."""
        self.waiting = 0
        """How many wait, for all keys together."""

    def of(self, key: JobKey) -> WaitQueue | None:
        """Return the line of a key; None when nobody waits for it."""
        found = self._lines.get(key.hash)
        return None if found is None else found[0]

    @contextmanager
    def standing(self, key: JobKey, waiter: Waiter) -> Generator[WaitQueue]:
        """Stand in line for the length of a `with` block. Changes of the record are heard meanwhile."""
        line = self.of(key) or self._open(key)
        line.join(waiter)
        self.waiting += 1
        try:
            yield line
        finally:
            self.waiting -= 1
            line.leave(waiter)
            if not line.waiters:
                self._close(key, line)

    def _close(self, key: JobKey, line: WaitQueue) -> None:
        self._lines.pop(key.hash)[1].drain()
        self._left[key.hash] = line.observations
        if len(self._left) > _LEFT_MAX:
            self._left.popitem(last=False)

    def call_all(self) -> None:
        """Give everybody a turn: there is something else to see than a slot."""
        for line, _ in self._lines.values():
            for waiter in line.waiters:
                waiter.turn.set()

    def _open(self, key: JobKey) -> WaitQueue:
        line = WaitQueue(self._max_active, observations=self._left.pop(key.hash, NO_OBSERVATIONS))

        def heard(message: Message) -> None:
            # Only a reason to look: what is heard may yet be refused by the stream (decision 2).
            record = self._store.parse(key, message.data)
            if record is not None and len(record.active) < self._max_active:
                line.call()

        self._lines[key.hash] = (line, self._connection.subscribe(self._store.subject(key), heard))
        return line
