"""The jobs of one key that wait in this process, in the order in which they get a slot."""

from __future__ import annotations

import asyncio
import math
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
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord
from trellis_nats.jobs.keys.model.slots import FIFO_WINDOW, PRIORITY_WINDOW
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.metrics.registry import Number

__all__ = ["WaitQueue", "WaitQueues", "Waiter"]

_POLL: Final = timedelta(seconds=1)
"""How often the first waiter checks the record in any case: a change may not have been received, or a lease may have
expired (jobs.md)."""
_PAUSE_PER_CHECK: Final = 9
"""The pause after a check is so many times as long as the check took, if that is longer. However many keys wait, their
checks then take a tenth of the time: on a slow machine, they must not slow down the jobs that they wait for."""
_CHECKS_PER_ENTRY_CHECK: Final = 10
"""Every tenth check includes the jobs that wait in the record. Each of them costs a read, and blocks no other job."""
_CLOSED_MAX: Final = 1024
"""How many keys without waiters have their observations remembered."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One job that waits."""

    is_new: bool
    """Whether it was never attempted. Jobs that were attempted go first."""
    created_at: str
    job_id: str
    wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be a slot for it."""


@dataclass(slots=True)
class WaitQueue:
    """The waiters of one key, and what this process has seen of the key's record."""

    max_active: int
    lease: timedelta
    record: KeyRecord | None = None
    observations: LeaseObservations = NO_OBSERVATIONS
    free_since: float | None = None
    """Since when a slot has been seen free, by the monotonic clock. None: no slot is free."""
    check_took: float = 0.0
    """Seconds that the last check of the record took."""
    entries_checked_at: float = -math.inf
    """When the jobs that wait in the record were last checked, by the monotonic clock."""
    waiters: list[Waiter] = field(default_factory=list[Waiter])

    def observe(self, record: KeyRecord) -> None:
        """Remember the record as it is now, and wake the first waiter if that is another one now.

        Only the first waiter checks the record regularly: without the wake-up, one that has just become first would
        sleep until its history is read again.
        """
        at, first = monotonic(), self._first()
        if len(record.active) >= self.max_active:
            self.free_since = None
        elif self.free_since is None:
            self.free_since = at
        self.record, self.observations = record, observe(self.observations, record, at=at)
        if self._first() is not first:
            self.wake_first()

    def take_entry_check(self) -> bool:
        """Return whether a check includes the waiting jobs of the record: the first one, then one every 10 s or more."""
        at = monotonic()
        if at - self.entries_checked_at < _CHECKS_PER_ENTRY_CHECK * self._check_interval():
            return False
        self.entries_checked_at = at
        return True

    def _check_interval(self) -> float:
        """Return the seconds between two checks without a notification, at most a lease: a key is blocked no longer."""
        interval = min(_PAUSE_PER_CHECK * self.check_took, self.lease.total_seconds())
        return max(_POLL.total_seconds(), interval)

    def add(self, waiter: Waiter) -> None:
        """Add a waiter."""
        self.waiters.append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Remove a waiter, and wake the one that is first now."""
        self.waiters.remove(waiter)
        self.wake_first()

    def in_order(self) -> list[Waiter]:
        """Return the waiters in order: those that were attempted before, then in the order of the record.

        A job that already has a slot was attempted too, even if its worker died before it stored that.
        """
        queued, active = ((), ()) if self.record is None else (self.record.queued, self.record.active)
        positions = {entry.job_id: position for position, entry in enumerate(queued)}
        owners = {slot.job_id for slot in active}
        last = len(positions)

        def sort_key(waiter: Waiter) -> tuple[bool, int, str, str]:
            is_new = waiter.is_new and waiter.job_id not in owners
            return is_new, positions.get(waiter.job_id, last), waiter.created_at, waiter.job_id

        return sorted(self.waiters, key=sort_key)

    def is_first(self, waiter: Waiter) -> bool:
        """Return whether no other waiter is before it."""
        return self._first() is waiter

    def _first(self) -> Waiter | None:
        return next(iter(self.in_order()), None)

    async def wait(self, waiter: Waiter, until: float) -> None:
        """Wait until the waiter is woken, until a time, or, as the first waiter, until the next check is due."""
        timeout = until - monotonic()
        if self.is_first(waiter):
            timeout = min(timeout, self._next_check())
        try:
            async with asyncio.timeout(max(0.0, timeout)):
                await waiter.wakeup.wait()
        except TimeoutError:
            return
        finally:
            waiter.wakeup.clear()

    def _next_check(self) -> float:
        """Return in how many seconds the first waiter checks the record if it is not woken."""
        seconds = self._check_interval() * random.uniform(0.8, 1.0)  # noqa: S311 - jitter is not a secret
        record = self.record
        expiry = None if record is None else self.observations.next_expiry(record, at=monotonic())
        if expiry is not None:
            seconds = min(seconds, (expiry + PRIORITY_WINDOW).total_seconds() + 0.001)
        fifo_left = FIFO_WINDOW.total_seconds() - (monotonic() - (self.free_since or 0.0))
        return min(seconds, fifo_left + 0.001) if fifo_left > 0 else seconds

    def wake_first(self) -> None:
        """Wake the first waiter."""
        first = self._first()
        if first is not None:
            first.wakeup.set()

    def wake_next(self, waiter: Waiter) -> None:
        """Wake the waiter after this one: what blocks this one may not block the others."""
        waiters = self.in_order()
        position = waiters.index(waiter) + 1
        if position < len(waiters):
            waiters[position].wakeup.set()


class WaitQueues:
    """The wait queues of one job queue in this process. A key has a wait queue while jobs wait for it."""

    def __init__(
        self, connection: Connection, store: KeyStore, policy: KeyPolicy, *, waiting: Number
    ) -> None:
        self._connection = connection
        self._store = store
        self._policy = policy
        self._open: dict[str, tuple[WaitQueue, Subscription]] = {}
        self._closed: OrderedDict[str, WaitQueue] = OrderedDict()
        """The queues of keys that have no waiter now: a lease continues to run while a history is read again."""
        self.waiting = waiting
        """How many jobs wait, for all keys together."""

    def get(self, key: JobKey) -> WaitQueue | None:
        """Return the wait queue of a key. None: no job waits for it."""
        found = self._open.get(key.hash)
        return None if found is None else found[0]

    @contextmanager
    def enqueue(self, key: JobKey, waiter: Waiter) -> Generator[WaitQueue]:
        """Wait in the queue of a key for the length of a `with` block. Changes of the record wake the first waiter."""
        queue = self.get(key) or self._create(key)
        queue.add(waiter)
        self.waiting.value += 1
        try:
            yield queue
        finally:
            self.waiting.value -= 1
            queue.remove(waiter)
            if not queue.waiters:
                self._close(key, queue)

    def wake_all(self) -> None:
        """Wake every waiter, because the worker stops or is paused."""
        for queue, _ in self._open.values():
            for waiter in queue.waiters:
                waiter.wakeup.set()

    def _create(self, key: JobKey) -> WaitQueue:
        queue = self._closed.pop(key.hash, None) or WaitQueue(self._policy.max_active, self._policy.lease)

        def on_change(message: Message) -> None:
            # Only a reason to check: the stream may still refuse a write that was received here (decision 2).
            record = self._store.parse(key, message.data)
            if record is not None and len(record.active) < self._policy.max_active:
                queue.wake_first()

        self._open[key.hash] = (queue, self._connection.subscribe(self._store.subject(key), on_change))
        return queue

    def _close(self, key: JobKey, queue: WaitQueue) -> None:
        self._open.pop(key.hash)[1].drain()
        queue.record, queue.free_since = None, None
        self._closed[key.hash] = queue
        if len(self._closed) > _CLOSED_MAX:
            self._closed.popitem(last=False)
