"""Gives a job its place in the record of its key before it is created, and takes places back."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta
from time import monotonic
from typing import Final, cast

from pydantic import JsonValue

from trellis_nats.clock import now, timestamp
from trellis_nats.errors import MalformedJobEvent, TransportError
from trellis_nats.jobs.keys.key_store import KeyStore
from trellis_nats.jobs.keys.model import event_fields
from trellis_nats.jobs.keys.model.admission import (
    Admitted,
    Displaced,
    Joined,
    Verdict,
    admit,
    evict,
    restore,
    withdraw,
)
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, LeaseObservations, observe
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot
from trellis_nats.jobs.keys.model.slots import COURTESY, remove
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.orphans import OrphanFinder, Orphans, is_orphaned
from trellis_nats.jobs.model.event import NewEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog, StoredEvent, WriteConflict
from trellis_nats.jobs.store.liveness import Liveness

__all__ = ["STORED_SOON", "Reservations", "record_stale"]

_log = logging.getLogger(__name__)

STORED_SOON: Final = 0.05
"""Seconds between looks whether a job is stored whose place is reserved."""
_LOOKS_MAX: Final = 10
"""How many jobs, one after another as the key goes on, are looked at whether they can stand for a new one."""
_WATCHED_MAX: Final = 1024
"""How many full keys a creating process watches for leases that run out."""


class Reservations:
    """The way into the keys of one queue."""

    def __init__(self, store: KeyStore, event_log: EventLog, claims: Liveness, policy: KeyPolicy) -> None:
        self.policy = policy
        self.store = store
        self.orphan_finder = OrphanFinder(event_log, claims, policy)
        self._event_log = event_log
        self._sightings: OrderedDict[str, LeaseObservations] = OrderedDict()

    async def admit(self, key: JobKey, event: NewEvent, *, strict: bool) -> Verdict:
        """Reserve the place of a job that is about to be created, or say why there is none.

        Who would be refused, joined or displaced by what nobody needs any more is not: that is taken out first.

        Raises:
            MalformedKeyRecord: the stored record cannot be read.
            TransportError: NATS did not answer; a place that was reserved all the same is given up after 10 s.
        """
        entry = _entry(event)
        seen: KeyRecord | None = None

        def try_first(record: KeyRecord) -> tuple[KeyRecord, Verdict]:
            nonlocal seen
            seen = record
            changed, verdict = admit(
                record,
                _reserved_now(entry),
                self.policy,
                strict=strict,
                expired=frozenset(),
                limit_bytes=self.store.limit_bytes,
            )
            return (changed if isinstance(verdict, Admitted) else record), verdict

        verdict = await self.store.change(key, try_first, patient=True, may_be_new=True)
        if isinstance(verdict, Admitted) or seen is None:
            return verdict
        return await self._make_room(key, seen, entry, verdict, strict=strict)

    async def _make_room(
        self, key: JobKey, record: KeyRecord, entry: QueueEntry, verdict: Verdict, *, strict: bool
    ) -> Verdict:
        observations = self._see(key, record)
        orphans = await self.orphan_finder.orphans(record, at=now(), observations=observations)
        displaced: tuple[Slot, ...] = ()
        written: list[tuple[QueueEntry, Verdict]] = []
        unjoinable: set[str] = set()

        def again(found: KeyRecord) -> tuple[KeyRecord, Verdict]:
            nonlocal displaced, record
            stored = found.entry(entry.job_id)
            for ours, said in written:
                if ours == stored:
                    return found, said  # only the answer was lost
            at = monotonic()
            expired = observations.expired(found, at=at)
            late = observations.expired(found, at=at - COURTESY.total_seconds())  # its own job comes first
            taken = late if self.policy.stale_policy == "fail-stale" else frozenset[str]()
            displaced = tuple(slot for slot in found.active if slot.token in taken)
            record = evict(found, entries=orphans.entries, slots=orphans.slots | taken)
            record = record._replace(takeovers=record.takeovers + len(displaced))
            reserved = _reserved_now(entry)
            changed, verdict = admit(
                record,
                reserved,
                self.policy,
                strict=strict,
                expired=expired,
                limit_bytes=self.store.limit_bytes,
                unjoinable=unjoinable,
            )
            if isinstance(verdict, Admitted | Displaced):
                written.append((reserved, verdict))
            return changed, verdict

        looked_at: set[str] = set()
        for turn in range(_LOOKS_MAX):
            if isinstance(verdict, Joined):
                looked_at.add(verdict.existing)
                found = await self._without_dead_end(key, record, verdict, orphans)
                if found is None:
                    unjoinable.add(verdict.existing)
                else:
                    orphans = found
            strict = strict or turn == _LOOKS_MAX - 1  # nobody is joined who was not looked at
            verdict = await self.store.change(key, again, patient=True)
            for slot in displaced:
                await record_stale(self._event_log, slot)
            if not isinstance(verdict, Joined) or verdict.existing in looked_at:
                break
        return verdict

    async def _without_dead_end(
        self, key: JobKey, record: KeyRecord, verdict: Joined, orphans: Orphans
    ) -> Orphans | None:
        """See that a job which is joined will run: one that has ended, or never comes, stands for nobody.

        None when it cannot be joined, and keeps its place: it has ended while its handler still runs, or nobody can
        read what became of it.
        """
        try:
            newest = await self._newest_when_stored(key, record, verdict.existing)
        except MalformedJobEvent:
            return None
        if newest is None:
            return Orphans(orphans.entries | {verdict.existing}, orphans.slots)
        if not newest.event.is_terminal:
            return orphans
        ended = {slot.token for slot in record.active if slot.job_id == verdict.existing}
        by_worker = newest.event.event_type in {EventType.COMPLETED, EventType.FAILED}
        if not by_worker and not ended <= orphans.slots:
            return None
        return Orphans(orphans.entries | {verdict.existing}, orphans.slots | ended)

    async def _newest_when_stored(self, key: JobKey, record: KeyRecord, job_id: str) -> StoredEvent | None:
        """Read the newest event of a job in the record. One whose place is reserved may be on its way to the stream.

        None when it is not in the record any more, or nobody will store it.
        """
        began = monotonic()
        newest = await self._event_log.newest(job_id)
        while newest is None:
            entry = record.entry(job_id)
            seen_for = timedelta(seconds=monotonic() - began)
            if entry is None or is_orphaned(entry, None, at=now(), seen_for=seen_for):
                return None
            await asyncio.sleep(STORED_SOON)
            newest = await self._event_log.newest(job_id)
            record = await self.store.read(key)
        return newest

    def _see(self, key: JobKey, record: KeyRecord) -> LeaseObservations:
        """Take note of a record that refuses: its leases run out unless they are renewed."""
        seen = observe(self._sightings.get(key.hash, NO_OBSERVATIONS), record, at=monotonic())
        self._sightings[key.hash] = seen
        self._sightings.move_to_end(key.hash)
        if len(self._sightings) > _WATCHED_MAX:
            self._sightings.popitem(last=False)
        return seen

    async def withdraw(self, key: JobKey, job_id: str) -> None:
        """Take a job that waits out of the record; nothing to do when it does not.

        Raises:
            TransportError: NATS did not take it.
        """
        await self.store.change(key, lambda record: (withdraw(record, job_id), None))

    async def restore(self, key: JobKey, replaced: QueueEntry, *, by: str) -> None:
        """Give a displaced job its place back.

        Raises:
            TransportError: NATS did not take it.
        """
        await self.store.change(key, lambda record: (restore(record, replaced, by=by), None))

    async def remove(self, key: JobKey, job_id: str) -> bool:
        """Take a job out of the record, whether it waits or is active. Return whether it was there.

        Raises:
            TransportError: NATS did not take it.
        """
        was_there = False

        def without(record: KeyRecord) -> tuple[KeyRecord, bool]:
            nonlocal was_there
            changed = remove(record, job_id)
            was_there = was_there or changed != record  # also where only the answer was lost
            return changed, was_there

        return await self.store.change(key, without)


def _entry(event: NewEvent) -> QueueEntry:
    context = cast("Mapping[str, JsonValue]", event.body["context"])
    return QueueEntry(
        job_id=event.job_id,
        created_at=cast("str", event.body["timestamp"]),
        request_id=cast("str", context["requestId"]),
        context=event.body["context"],
        retry_at=cast("str | None", event.body.get("notBefore")),
    )


def _reserved_now(entry: QueueEntry) -> QueueEntry:
    """Date a reservation: it is given up some time after it was made, and the event may be older."""
    return entry._replace(created_at=timestamp(now()))


async def record_stale(event_log: EventLog, slot: Slot) -> None:
    """Write that a job lost its slot to another one, if it still works in it. What cannot be written is logged.

    Nothing depends on it: the job comes again when it is not written, and waits for its key like any other.
    """
    try:
        newest = await event_log.newest(slot.job_id)
        started = await event_log.newest_of(slot.job_id, EventType.STARTED)
        if newest is None:
            return
        event = event_fields.stale(newest, None if started is None else started.event, slot, now())
        if event is not None:
            await event_log.append(event, after=newest.sequence)
            _log.warning("job %s is stale: the lease of its key ran out, and it lost its slot", slot.job_id)
    except WriteConflict as overtaken:
        _log.info("job %s lost its slot and went on: %s", slot.job_id, overtaken)
    except TransportError as error:
        _log.warning("job %s lost its slot, which could not be written down: %s", slot.job_id, error)
