"""Takes slots for the jobs of one queue, and lets those wait whose key has none."""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum, auto
from time import monotonic
from typing import Final, NamedTuple

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats.clock import now, timestamp
from trellis_nats.ids import new_id
from trellis_nats.jobs.capacity import Permit
from trellis_nats.jobs.keys.key_store import KeyStores
from trellis_nats.jobs.keys.lease import SlotLease
from trellis_nats.jobs.keys.leaving import leave
from trellis_nats.jobs.keys.model.admission import evict
from trellis_nats.jobs.keys.model.record import KeyRecord, Slot
from trellis_nats.jobs.keys.model.slots import COURTESY, ORDER, Acquired, Blocked, acquire
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.reservations import Reservations, record_stale
from trellis_nats.jobs.keys.wait_queue import Waiter, WaitQueue, WaitQueues
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.liveness import Liveness

__all__ = ["Applicant", "SlotAcquirer", "Wait"]

_LOOK_AGAIN: Final = timedelta(seconds=10)
"""How long a job waits before its history is read again."""
_LISTED_WITHIN: Final = timedelta(seconds=2)
"""How long a job that does not wait in the record is looked at again: whoever displaced it writes so meanwhile. After
that, its entry was evicted or never made, and it gets a slot like any other."""
_UNLISTED_PAUSE: Final = 0.05
_WAITING_MAX: Final = 256
"""How many messages of a queue wait in one process. Those beyond it wait at the server."""


class Wait(Enum):
    """Why a job has no slot."""

    LOOK_AGAIN = auto()
    """Its history may say something new: its deadline or a while has passed, or somebody has displaced it just now."""
    CROWDED = auto()
    """Too many wait in this process: it had better wait at the server."""


class Applicant(NamedTuple):
    """A job that wants a slot."""

    job_id: str
    created_at: str
    tries: int
    """The try that would begin."""
    context: JsonValue
    entitled: bool
    """Whether it was tried before: it goes first, and need not wait in the record."""
    deadline: datetime | None


class _Taken(NamedTuple):
    slot: Slot
    takeovers: int
    displaced: tuple[Slot, ...]
    asked_at: float


class SlotAcquirer:
    """The way from a message in hand to a slot of its key, for one queue in one process."""

    def __init__(
        self,
        connection: Connection,
        stores: KeyStores,
        reservations: Reservations,
        event_log: EventLog,
        claims: Liveness,
        thread: ProgressThread,
        *,
        stopping: asyncio.Event,
    ) -> None:
        self._loop = connection.loop
        self._stores = stores
        self._reservations = reservations
        self._policy = reservations.policy
        self._event_log = event_log
        self._claims = claims
        self._thread = thread
        self._stopping = stopping
        self._unlisted: dict[str, float] = {}
        """Since when a job in hand has not been in the record of its key, by the monotonic clock."""
        self._lines = WaitQueues(connection, stores.main, max_active=reservations.policy.max_active)

    async def take(self, key: JobKey, applicant: Applicant, permit: Permit) -> SlotLease | Wait:
        """Wait until the job has a slot of its key, or its history should be read again.

        A job that waits lays its hand down, and takes one up again before it gets its slot. When the worker stops, the
        wait ends at once.

        Raises:
            TransportError: NATS did not answer, or the stored record cannot be read.
        """
        since = self._unlisted.get(applicant.job_id)
        if since is not None and monotonic() - since >= _LISTED_WITHIN.total_seconds():
            applicant = applicant._replace(entitled=True)
        line = self._lines.of(key)
        asked: _Taken | Blocked | None = None
        if permit.is_held and (applicant.entitled or line is None):
            asked = await self._try(key, applicant, line)
        found = asked if isinstance(asked, _Taken) else await self._stand(key, applicant, permit, asked)
        if isinstance(found, Wait):
            return found
        self._unlisted.pop(applicant.job_id, None)
        held = SlotLease(
            self._stores,
            key,
            found.slot,
            self._policy,
            takeovers=found.takeovers,
            asked_at=found.asked_at,
            loop=self._loop,
        )
        held.keep(self._thread)
        try:
            for slot in found.displaced:
                await record_stale(self._event_log, slot)
        except BaseException:
            await self.give_back(held, began=False)
            raise
        return held

    @property
    def is_crowded(self) -> bool:
        """Whether so many wait in this process that one more had better wait at the server."""
        return self._lines.waiting >= _WAITING_MAX

    async def give_back(
        self, held: SlotLease, *, retry_after: timedelta | None = None, began: bool = True
    ) -> bool:
        """Give a slot back as `HeldSlot` does, and let others know that this process works in it no longer."""
        try:
            return await held.give_back(retry_after=retry_after, began=began)
        finally:
            self._claims.release(held.slot.token)

    async def forget(self, key: JobKey, job_id: str, permit: Permit) -> bool:
        """Take a job that has ended out of its key's record. Return False when the worker stops before that is done.

        Raises:
            TransportError: NATS did not answer.
        """
        self._unlisted.pop(job_id, None)
        orphan_finder = self._reservations.orphan_finder
        return await leave(
            self._stores.main, orphan_finder, key, job_id, permit=permit, stopping=self._stopping
        )

    def close(self) -> None:
        """Let everybody look who waits: the worker stops."""
        self._lines.call_all()

    # --- waiting ---------------------------------------------------------------------------------------------------

    async def _stand(
        self, key: JobKey, applicant: Applicant, permit: Permit, blocked: Blocked | None
    ) -> _Taken | Wait:
        if blocked is not None and blocked.reason == "not-listed":
            return await self._unlisted_again(applicant.job_id, permit)
        if self.is_crowded:
            return Wait.CROWDED
        permit.release()
        waiter = Waiter(not applicant.entitled, applicant.created_at, applicant.job_id)
        with self._lines.standing(key, waiter) as line:
            return await self._wait(key, applicant, permit, line, waiter)

    async def _unlisted_again(self, job_id: str, permit: Permit) -> Wait:
        permit.release()
        while len(self._unlisted) >= _WAITING_MAX:
            self._unlisted.pop(next(iter(self._unlisted)))
        self._unlisted.setdefault(job_id, monotonic())
        await asyncio.sleep(_UNLISTED_PAUSE)
        return Wait.LOOK_AGAIN

    async def _wait(
        self, key: JobKey, applicant: Applicant, permit: Permit, line: WaitQueue, waiter: Waiter
    ) -> _Taken | Wait:
        until = monotonic() + _LOOK_AGAIN.total_seconds()
        if applicant.deadline is not None:
            until = min(until, monotonic() + (applicant.deadline - now()).total_seconds())
        if line.is_first(waiter):
            waiter.turn.set()  # whatever was freed before the subscription was not heard
        while True:
            await line.wait_turn(waiter, until)
            if self._stopping.is_set() or monotonic() >= until:
                return Wait.LOOK_AGAIN
            blocked = await self._look(key, applicant, line, waiter)
            if blocked is None:
                await permit.reacquire()
                if self._stopping.is_set() or monotonic() >= until:
                    return Wait.LOOK_AGAIN
                found = await self._try(key, applicant, line)
                if isinstance(found, _Taken):
                    return found
                permit.release()
                blocked = found
            if blocked.reason == "not-listed":
                return await self._unlisted_again(applicant.job_id, permit)
            if blocked.reason != "active-limit":
                line.call_after(waiter)

    async def _look(
        self, key: JobKey, applicant: Applicant, line: WaitQueue, waiter: Waiter
    ) -> Blocked | None:
        """See whether there would be a slot, and take out of the record what keeps it for nobody."""
        record = await self._stores.main.read(key)
        line.see(record)
        blocked = self._judge(record, applicant, line)
        if blocked is None or not line.is_first(waiter):
            return blocked
        orphans = await self._reservations.orphan_finder.orphans(
            record, at=now(), observations=line.observations
        )
        if not orphans:
            return blocked

        def cleared(found: KeyRecord) -> tuple[KeyRecord, KeyRecord]:
            changed = evict(found, entries=orphans.entries, slots=orphans.slots)
            return changed, changed

        record = await self._stores.main.change(key, cleared)
        line.see(record)
        return self._judge(record, applicant, line)

    def _judge(self, record: KeyRecord, applicant: Applicant, line: WaitQueue) -> Blocked | None:
        _, said = self._acquire(record, applicant, self._slot(applicant, ""), line)
        return said if isinstance(said, Blocked) else None

    async def _try(self, key: JobKey, applicant: Applicant, line: WaitQueue | None) -> _Taken | Blocked:
        """Ask for a slot. Each time under a token of its own: a write that was given up may land later, and be nobody's."""
        asked_at, token = monotonic(), new_id()
        slot = self._slot(applicant, token)
        taken: _Taken | None = None

        def reduce(record: KeyRecord) -> tuple[KeyRecord, _Taken | Blocked]:
            nonlocal taken
            if taken is not None and record.slot(token) is not None:
                return record, taken  # it was stored, and only the answer was lost
            if line is not None:
                line.see(record)
            changed, said = self._acquire(record, applicant, slot, line)
            if isinstance(said, Blocked):
                return changed, said
            taken = _Taken(slot, changed.takeovers, said.displaced, asked_at)
            return changed, taken

        self._claims.hold(token)
        try:
            found = await self._stores.main.change(key, reduce)
        except BaseException:
            self._claims.release(token)
            raise
        if isinstance(found, Blocked):
            self._claims.release(token)
        return found

    def _acquire(
        self, record: KeyRecord, applicant: Applicant, slot: Slot, line: WaitQueue | None
    ) -> tuple[KeyRecord, Acquired | Blocked]:
        """Try it on a record, by what this process has seen. A job takes over its own slot a moment before others do."""
        at = monotonic()
        room_since = None if line is None else line.room_since
        expired: AbstractSet[str] = frozenset()
        if line is not None and record.active:
            own = {each.token for each in record.active if each.job_id == applicant.job_id}
            late = line.observations.expired(record, at=at - COURTESY.total_seconds())
            expired = late | (own & line.observations.expired(record, at=at))
        return acquire(
            record,
            slot,
            self._policy,
            expired=expired,
            entitled=applicant.entitled,
            in_order=room_since is None or at - room_since < ORDER.total_seconds(),
            at=now(),
        )

    def _slot(self, applicant: Applicant, token: str) -> Slot:
        at = now()
        started = timestamp(at)
        return Slot(
            job_id=applicant.job_id,
            token=token,
            instance_id=self._claims.instance_id,
            started_at=started,
            renewed_at=started,
            expires_at=timestamp(at + self._policy.lease),
            tries=applicant.tries,
            context=applicant.context,
        )
