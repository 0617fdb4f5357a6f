"""Reserves entries in the records of keys for jobs that are about to be created, and removes entries."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from datetime import timedelta
from time import monotonic
from typing import Final, cast

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now, timestamp
from trellis_nats.errors import MalformedJobEvent, TransportError
from trellis_nats.jobs.keys.key_store import KeyStore
from trellis_nats.jobs.keys.model import event_fields
from trellis_nats.jobs.keys.model.admission import (
    AdmissionResult,
    Admitted,
    Displaced,
    Joined,
    admit,
    evict,
    restore,
    withdraw,
)
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, LeaseObservations, observe
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot
from trellis_nats.jobs.keys.model.slots import PRIORITY_WINDOW, remove
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.orphans import OrphanFinder, Orphans, is_orphaned
from trellis_nats.jobs.model.event import NewEvent, StoredEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog, WriteConflict
from trellis_nats.jobs.store.liveness import Liveness

__all__ = ["STORE_POLL_SECONDS", "Reservations", "write_stale"]

_log = logging.getLogger(__name__)

STORE_POLL_SECONDS: Final = 0.05
"""Seconds between two checks whether a job with a reserved entry is stored."""
_JOIN_ATTEMPTS_MAX: Final = 10
"""How many jobs of a key are checked, one after another, for one that can stand in for a new job."""
_OBSERVED_MAX: Final = 1024
"""How many full keys a creating process observes for leases that expire."""


class Reservations:
    """Reserves and removes the entries of one queue's jobs."""

    def __init__(self, store: KeyStore, event_log: EventLog, liveness: Liveness, policy: KeyPolicy) -> None:
        self.policy = policy
        self.store = store
        self.orphan_finder = OrphanFinder(event_log, liveness, policy)
        self._event_log = event_log
        self._observations: OrderedDict[str, LeaseObservations] = OrderedDict()

    async def admit(self, key: JobKey, event: NewEvent, *, strict: bool) -> AdmissionResult:
        """Reserve an entry for a job that is about to be created, or return why there is none.

        Orphans in the record never cause a refusal, a join or a displacement: they are evicted first.

        Raises:
            MalformedKeyRecord: the stored value is not a valid record of the key.
            TransportError: NATS did not answer. If the entry was reserved, it can be evicted after 10 s.
        """
        entry = _entry(event)
        record: KeyRecord | None = None

        def reserve(found: KeyRecord) -> tuple[KeyRecord, AdmissionResult]:
            nonlocal record
            record = found
            changed, result = admit(
                found,
                _reserved_now(entry),
                self.policy,
                strict=strict,
                expired=frozenset(),
                limit_bytes=self.store.limit_bytes,
            )
            return (changed if isinstance(result, Admitted) else found), result

        result = await self.store.change(key, reserve, low_priority=True, admits=True)
        if isinstance(result, Admitted) or record is None:
            return result
        return await self._admit_after_eviction(key, record, entry, result, strict=strict)

    async def _admit_after_eviction(
        self, key: JobKey, record: KeyRecord, entry: QueueEntry, result: AdmissionResult, *, strict: bool
    ) -> AdmissionResult:
        """Evict the orphans from a record that refused a job, and try again; `record` and `result` are of the refusal."""
        observations = self._observe(key, record)
        orphans = await self.orphan_finder.find(record, at=now(), observations=observations)
        taken_over: tuple[Slot, ...] = ()
        written: list[tuple[QueueEntry, AdmissionResult]] = []
        unjoinable: set[str] = set()

        def reserve(found: KeyRecord) -> tuple[KeyRecord, AdmissionResult]:
            nonlocal taken_over, record
            stored = found.entry(entry.job_id)
            for reserved, earlier in written:
                if reserved == stored:
                    return found, earlier  # the write was stored, and only its answer was lost
            at = monotonic()
            expired = observations.expired(found, at=at)
            # The job that owns an expired slot has priority for it.
            late = observations.expired(found, at=at - PRIORITY_WINDOW.total_seconds())
            stale = late if self.policy.stale_policy == "fail-stale" else frozenset[str]()
            taken_over = tuple(slot for slot in found.active if slot.token in stale)
            record = evict(found, entries=orphans.entries, slots=orphans.slots | stale)
            record = record._replace(takeovers=record.takeovers + len(taken_over))
            reserved = _reserved_now(entry)
            changed, result = admit(
                record,
                reserved,
                self.policy,
                strict=strict,
                expired=expired,
                limit_bytes=self.store.limit_bytes,
                unjoinable=unjoinable,
            )
            if isinstance(result, Admitted | Displaced):
                written.append((reserved, result))
            return changed, result

        checked: set[str] = set()
        for attempt in range(_JOIN_ATTEMPTS_MAX):
            if isinstance(result, Joined):
                checked.add(result.existing)
                found = await self._check_joinable(key, record, result, orphans)
                if found is None:
                    unjoinable.add(result.existing)
                else:
                    orphans = found
            strict = strict or attempt == _JOIN_ATTEMPTS_MAX - 1  # never join a job that was not checked
            result = await self.store.change(key, reserve, low_priority=True)
            for slot in taken_over:
                await write_stale(self._event_log, slot, key=key)
            if not isinstance(result, Joined) or result.existing in checked:
                break
        return result

    async def _check_joinable(
        self, key: JobKey, record: KeyRecord, joined: Joined, orphans: Orphans
    ) -> Orphans | None:
        """Check whether a job that stands in for a new one will run. If not, return it among the orphans.

        None: the job cannot stand in, but keeps its entry or slot. It has ended while its handler still runs, or its history
        cannot be read.
        """
        try:
            newest = await self._newest_when_stored(key, record, joined.existing)
        except MalformedJobEvent:
            return None
        if newest is None:
            return Orphans(orphans.entries | {joined.existing}, orphans.slots)
        if not newest.event.is_terminal:
            return orphans
        own = {slot.token for slot in record.active if slot.job_id == joined.existing}
        by_worker = newest.event.event_type in {EventType.COMPLETED, EventType.FAILED}
        if not by_worker and not own <= orphans.slots:
            return None
        return Orphans(orphans.entries | {joined.existing}, orphans.slots | own)

    async def _newest_when_stored(self, key: JobKey, record: KeyRecord, job_id: str) -> StoredEvent | None:
        """Read the newest event of a job in the record, waiting while the job may still be about to be stored.

        None: the job has left the record, or its reservation has timed out.
        """
        began_at = monotonic()
        newest = await self._event_log.newest(job_id)
        while newest is None:
            entry = record.entry(job_id)
            seen_for = timedelta(seconds=monotonic() - began_at)
            if entry is None or is_orphaned(entry, None, at=now(), seen_for=seen_for):
                return None
            await asyncio.sleep(STORE_POLL_SECONDS)
            newest = await self._event_log.newest(job_id)
            record = await self.store.read(key)
        return newest

    def _observe(self, key: JobKey, record: KeyRecord) -> LeaseObservations:
        """Remember a record that refuses a job: its leases expire unless they are renewed."""
        observations = observe(self._observations.get(key.hash, NO_OBSERVATIONS), record, at=monotonic())
        self._observations[key.hash] = observations
        self._observations.move_to_end(key.hash)
        if len(self._observations) > _OBSERVED_MAX:
            self._observations.popitem(last=False)
        return observations

    async def withdraw(self, key: JobKey, job_id: str) -> None:
        """Remove a waiting job from the record. Does nothing if the job does not wait.

        Raises:
            TransportError: NATS did not answer or refused the write.
        """
        await self.store.change(key, lambda record: (withdraw(record, job_id), None))

    async def restore(self, key: JobKey, replaced: QueueEntry, *, by: str) -> None:
        """Give a displaced job its entry back.

        Raises:
            TransportError: NATS did not answer or refused the write.
        """
        await self.store.change(key, lambda record: (restore(record, replaced, by=by), None))

    async def remove(self, key: JobKey, job_id: str) -> bool:
        """Remove a job from the record, whether it waits or is active. Return whether it was there.

        Raises:
            TransportError: NATS did not answer or refused the write.
        """
        was_there = False

        def remove_job(record: KeyRecord) -> tuple[KeyRecord, bool]:
            nonlocal was_there
            changed = remove(record, job_id)
            was_there = was_there or changed != record  # also true when only the answer was lost
            return changed, was_there

        return await self.store.change(key, remove_job)


def _entry(event: NewEvent) -> QueueEntry:
    return QueueEntry(
        event.job_id,
        cast("str", event.tail["timestamp"]),
        event.context.request_id,
        event.context.members(),
        cast("str | None", event.tail.get("notBefore")),
    )


def _reserved_now(entry: QueueEntry) -> QueueEntry:
    """Return the entry with the current time: a reservation times out by its own age, and the event may be older."""
    return QueueEntry(entry.job_id, timestamp(now()), entry.request_id, entry.context, entry.retry_at)


async def write_stale(event_log: EventLog, slot: Slot, *, key: JobKey) -> None:
    """Store that a job lost its slot to another job, if it still runs in it. A failed write is logged.

    The event is not essential: without it, the job is redelivered and waits for its key again.
    """
    fields = log_fields(LogEvent.JOB_STALE, job_id=slot.job_id, key=key.display, attempt=slot.tries)
    try:
        newest = await event_log.newest(slot.job_id)
        started = await event_log.newest_of(slot.job_id, EventType.STARTED)
        if newest is None:
            return
        event = event_fields.stale_event(
            newest.event, None if started is None else started.event, slot, now()
        )
        if event is not None:
            await event_log.append(event, after=newest.sequence)
            _log.warning(
                'key "%s": job %s is stale: its lease expired and another job took over its slot',
                key.display,
                slot.job_id,
                extra=fields,
            )
    except WriteConflict as conflict:
        _log.info(
            'key "%s": job %s lost its slot and stored another event first: %s',
            key.display,
            slot.job_id,
            conflict,
            extra=fields,
        )
    except TransportError as error:
        _log.warning(
            'key "%s": job %s lost its slot, and its end as stale could not be stored: %s',
            key.display,
            slot.job_id,
            error,
            extra=fields,
        )
