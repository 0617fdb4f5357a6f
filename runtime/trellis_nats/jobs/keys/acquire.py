"""Acquires slots for the jobs of one queue; a job whose key has no free slot waits for one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum, auto
from time import monotonic
from typing import Final, NamedTuple

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._support.capacity import Permit
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import Clock, now, timestamp
from trellis_nats.ids import new_id
from trellis_nats.jobs.keys.key_store import KeyStores
from trellis_nats.jobs.keys.lease import SlotLease
from trellis_nats.jobs.keys.model.admission import evict
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, observe
from trellis_nats.jobs.keys.model.left_record import LeftRecord
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot
from trellis_nats.jobs.keys.model.slots import FIFO_WINDOW, PRIORITY_WINDOW, Acquired, Blocked, acquire
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.reservations import Reservations, write_stale
from trellis_nats.jobs.keys.slowdown import Slowdown
from trellis_nats.jobs.keys.wait_queue import Waiter, WaitQueue, WaitQueues
from trellis_nats.jobs.pause.intake import Intake
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.metrics.registry import Number

__all__ = ["NoSlot", "SlotAcquirer", "SlotRequest"]

_log = logging.getLogger(__name__)

_REREAD_AFTER: Final = timedelta(seconds=10)
"""How long a job waits for its key before its history is read again."""
_UNLISTED_TIMEOUT: Final = timedelta(seconds=2)
"""How long a job without an entry in the record is retried: the process that displaced it stores that in the meantime.
After that, its entry was evicted or never made, and the job gets a slot without one."""
_UNLISTED_PAUSE: Final = 0.05
"""Seconds between two attempts of a job without an entry."""
_WAITING_MAX: Final = 256
"""How many messages of a queue wait in one process. More than that wait at the server."""
_RELEASE_POLL: Final = timedelta(seconds=1)
"""How often a process checks whether the owner of an ended job's slot has released it."""


class NoSlot(Enum):
    """Why a job has no slot."""

    REREAD_HISTORY = auto()
    """Its history may have changed: its deadline or some time has passed, or another job has displaced it just now."""
    TOO_MANY_WAITERS = auto()
    """Too many jobs wait in this process: the message should wait at the server."""
    TOO_SLOW = auto()
    """This process is so slow that the lease was over before the attempt began: the message should wait at the server,
    which may deliver it to another process."""


class SlotRequest(NamedTuple):
    """A job that needs a slot."""

    job_id: str
    created_at: str
    attempt: int
    """The number of the attempt that would begin."""
    context: JsonValue
    skips_queue: bool
    """Whether the job was attempted before: it goes before new jobs, and needs no entry in the record."""
    deadline: datetime | None
    left: LeftRecord | None = None
    """The record of the key as the job's creator left it, where its event names that."""

    def entry(self) -> QueueEntry:
        """Return the entry of the job that its creator made."""
        request_id = self.context.get("requestId") if isinstance(self.context, dict) else None
        text = request_id if isinstance(request_id, str) else ""
        return QueueEntry(self.job_id, self.created_at, text, self.context)


class _StoredSlot(NamedTuple):
    slot: Slot
    takeovers: int
    displaced: tuple[Slot, ...]
    requested_at: float


class SlotAcquirer:
    """Acquires slots for the messages that one process holds of one queue."""

    def __init__(
        self,
        connection: Connection,
        stores: KeyStores,
        reservations: Reservations,
        event_log: EventLog,
        liveness: Liveness,
        thread: ProgressThread,
        *,
        intake: Intake,
        clock: Clock,
        waiting: Number,
    ) -> None:
        self._loop = connection.loop
        self._clock = clock
        self._stores = stores
        self._reservations = reservations
        self._policy = reservations.policy
        self._event_log = event_log
        self._liveness = liveness
        self._thread = thread
        self._intake, self._stopping = intake, intake.stopping
        self._slowdown = Slowdown(self._policy.lease)
        self._unlisted: dict[str, float] = {}
        """Since when a job had no entry in the record of its key, by the monotonic clock."""
        self._queues = WaitQueues(connection, stores.main, reservations.policy, waiting=waiting)

    async def acquire(self, key: JobKey, request: SlotRequest, permit: Permit) -> SlotLease | NoSlot:
        """Wait until the job has a slot of its key, or until its history should be read again.

        A job that waits releases its permit, and acquires a permit again before it gets its slot. When the worker
        stops, or the queue is paused, the wait ends at once.

        Raises:
            TransportError: NATS did not answer, or the stored record cannot be read.
        """
        since = self._unlisted.get(request.job_id)
        if since is not None and monotonic() - since >= _UNLISTED_TIMEOUT.total_seconds():
            request = request._replace(skips_queue=True)
        queue = self._queues.get(key)
        result: _StoredSlot | Blocked | None = None
        if permit.is_held and (request.skips_queue or queue is None):
            result = await self._try_acquire(key, request, queue)
        found = (
            result if isinstance(result, _StoredSlot) else await self._enqueue(key, request, permit, result)
        )
        if isinstance(found, NoSlot):
            return found
        self._unlisted.pop(request.job_id, None)
        lease = SlotLease(
            self._stores,
            key,
            found.slot,
            self._policy,
            takeovers=found.takeovers,
            requested_at=found.requested_at,
            loop=self._loop,
            clock=self._clock,
        )
        lease.start_renewing(self._thread)
        try:
            for slot in found.displaced:
                await write_stale(self._event_log, slot, key=key)
            if await lease.confirm():
                self._slowdown.on_in_time()
                return lease
        except BaseException:
            await self.release(lease, began=False)
            raise
        await self.release(lease, began=False)
        return NoSlot.TOO_SLOW

    async def slow_down(self, key: JobKey, job_id: str) -> None:
        """Pause after `TOO_SLOW`, or until the worker stops. The caller holds its permit meanwhile."""
        pause = self._slowdown.on_too_late()
        _log.warning(
            'key "%s": this process is too slow: the lease of job %s was over before its attempt began; it works fewer '
            "jobs of this queue for %g s",
            key.display,
            job_id,
            pause.total_seconds(),
            extra=log_fields(
                LogEvent.PROCESS_TOO_SLOW, queue=self._stores.main.queue, job_id=job_id, key=key.display
            ),
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(pause.total_seconds()):
                await self._stopping.wait()

    async def release(
        self, lease: SlotLease, *, retry_after: timedelta | None = None, began: bool = True
    ) -> bool:
        """Release a slot as `SlotLease.release` does, and stop answering that this process holds it."""
        try:
            return await lease.release(retry_after=retry_after, began=began)
        finally:
            self._liveness.release(lease.slot.token)

    async def remove(self, key: JobKey, job_id: str, permit: Permit) -> bool:
        """Remove a job that has ended from the record of its key. Return False when the worker stops first.

        A job may have ended while its handler still runs: it was cancelled, or its worker is cut off and another
        process stored the end. So its slot stays until its owner releases it or answers that it does not hold it, or
        until the lease expires. The permit is released meanwhile.

        Raises:
            TransportError: NATS did not answer.
        """
        self._unlisted.pop(job_id, None)
        abandoned = frozenset[str]()
        observations = NO_OBSERVATIONS

        def removable(record: KeyRecord) -> frozenset[str]:
            own = frozenset(slot.token for slot in record.active if slot.job_id == job_id)
            return own & (abandoned | observations.expired(record, at=monotonic()))

        def remove(record: KeyRecord) -> tuple[KeyRecord, KeyRecord]:
            changed = evict(record, entries={job_id}, slots=removable(record))
            return changed, changed

        while True:
            record = await self._stores.main.change(key, remove)
            if not any(slot.job_id == job_id for slot in record.active):
                return True
            observations = observe(observations, record, at=monotonic())
            orphans = await self._reservations.orphan_finder.find(record, at=now(), observations=observations)
            abandoned = orphans.slots
            if removable(record):
                continue
            permit.release()
            expiry = observations.next_expiry(record, at=monotonic())
            pause = _RELEASE_POLL if expiry is None else min(expiry, _RELEASE_POLL)
            try:
                async with asyncio.timeout(pause.total_seconds()):
                    await self._stopping.wait()
            except TimeoutError:
                continue
            return False

    def wake_all(self) -> None:
        """Wake every job that waits, because the worker stops or is paused."""
        self._queues.wake_all()

    # --- waiting ---------------------------------------------------------------------------------------------------

    async def _enqueue(
        self, key: JobKey, request: SlotRequest, permit: Permit, blocked: Blocked | None
    ) -> _StoredSlot | NoSlot:
        if blocked is not None and blocked.reason == "not-listed":
            return await self._pause_unlisted(request.job_id, permit)
        if self._queues.waiting.value >= _WAITING_MAX:
            return NoSlot.TOO_MANY_WAITERS
        permit.release()
        waiter = Waiter(not request.skips_queue, request.created_at, request.job_id)
        with self._queues.enqueue(key, waiter) as queue:
            return await self._wait(key, request, permit, queue, waiter)

    async def _pause_unlisted(self, job_id: str, permit: Permit) -> NoSlot:
        permit.release()
        while len(self._unlisted) >= _WAITING_MAX:
            self._unlisted.pop(next(iter(self._unlisted)))
        self._unlisted.setdefault(job_id, monotonic())
        await asyncio.sleep(_UNLISTED_PAUSE)
        return NoSlot.REREAD_HISTORY

    async def _wait(
        self, key: JobKey, request: SlotRequest, permit: Permit, queue: WaitQueue, waiter: Waiter
    ) -> _StoredSlot | NoSlot:
        until = monotonic() + _REREAD_AFTER.total_seconds()
        if request.deadline is not None:
            until = min(until, monotonic() + (request.deadline - self._clock.now()).total_seconds())
        if queue.is_first(waiter):
            waiter.wakeup.set()  # changes before the subscription were not received
        while True:
            await queue.wait(waiter, until)
            if not self._intake.is_open or monotonic() >= until:
                return NoSlot.REREAD_HISTORY
            began = monotonic()
            blocked = await self._check(key, request, queue, waiter)
            queue.check_took = monotonic() - began
            if blocked is None:
                await self._intake.reacquire(permit)
                if not self._intake.is_open or monotonic() >= until:
                    return NoSlot.REREAD_HISTORY
                found = await self._try_acquire(key, request, queue)
                if isinstance(found, _StoredSlot):
                    return found
                permit.release()
                blocked = found
            if blocked.reason == "not-listed":
                return await self._pause_unlisted(request.job_id, permit)
            if blocked.reason != "active-limit":
                queue.wake_next(waiter)

    async def _check(
        self, key: JobKey, request: SlotRequest, queue: WaitQueue, waiter: Waiter
    ) -> Blocked | None:
        """Check whether the job could get a slot now. If not, the first waiter evicts orphans from the record."""
        record = await self._stores.main.read(key)
        queue.observe(record)
        blocked = self._blocked(record, request, queue)
        if blocked is None or not queue.is_first(waiter):
            return blocked
        orphans = await self._reservations.orphan_finder.find(
            record, at=now(), observations=queue.observations, entries=queue.take_entry_check()
        )
        if not orphans:
            return blocked

        def evict_orphans(record: KeyRecord) -> tuple[KeyRecord, KeyRecord]:
            changed = evict(record, entries=orphans.entries, slots=orphans.slots)
            return changed, changed

        record = await self._stores.main.change(key, evict_orphans)
        queue.observe(record)
        return self._blocked(record, request, queue)

    def _blocked(self, record: KeyRecord, request: SlotRequest, queue: WaitQueue) -> Blocked | None:
        _, result = self._acquire_in(record, request, self._make_slot(request, ""), queue)
        return result if isinstance(result, Blocked) else None

    async def _try_acquire(
        self, key: JobKey, request: SlotRequest, queue: WaitQueue | None
    ) -> _StoredSlot | Blocked:
        """Request a slot, under a new token each time: a write that was given up may still be stored later."""
        requested_at, token = monotonic(), new_id()
        slot = self._make_slot(request, token)
        stored: _StoredSlot | None = None

        def reduce(record: KeyRecord) -> tuple[KeyRecord, _StoredSlot | Blocked]:
            nonlocal stored
            if stored is not None and record.slot(token) is not None:
                return record, stored  # the write was stored, and only its answer was lost
            if queue is not None:
                queue.observe(record)
            changed, result = self._acquire_in(record, request, slot, queue)
            if isinstance(result, Blocked):
                return changed, result
            stored = _StoredSlot(slot, changed.takeovers, result.displaced, requested_at)
            return changed, stored

        if request.left is not None:
            self._stores.main.learn(key, request.left, request.entry())
        self._liveness.hold(token)
        try:
            found = await self._stores.main.change(key, reduce)
        except BaseException:
            self._liveness.release(token)
            raise
        if isinstance(found, Blocked):
            self._liveness.release(token)
        return found

    def _acquire_in(
        self, record: KeyRecord, request: SlotRequest, slot: Slot, queue: WaitQueue | None
    ) -> tuple[KeyRecord, Acquired | Blocked]:
        """Acquire a slot in a record, by what this process has observed. A job takes over its own slot before others do."""
        at = monotonic()
        free_since = None if queue is None else queue.free_since
        expired: AbstractSet[str] = frozenset()
        if queue is not None and record.active:
            own = {slot.token for slot in record.active if slot.job_id == request.job_id}
            late = queue.observations.expired(record, at=at - PRIORITY_WINDOW.total_seconds())
            expired = late | (own & queue.observations.expired(record, at=at))
        return acquire(
            record,
            slot,
            self._policy,
            expired=expired,
            skips_queue=request.skips_queue,
            in_order=free_since is None or at - free_since < FIFO_WINDOW.total_seconds(),
            at=self._clock.now(),
        )

    def _make_slot(self, request: SlotRequest, token: str) -> Slot:
        at = now()
        started = timestamp(at)
        return Slot(
            job_id=request.job_id,
            token=token,
            instance_id=self._liveness.instance_id,
            started_at=started,
            renewed_at=started,
            expires_at=timestamp(at + self._policy.lease),
            tries=request.attempt,
            context=request.context,
        )
