"""Finds orphans in a record: reservations whose job was never stored, and slots and entries of jobs that have ended.

A process can die between any two writes. The next caller that a record refuses or keeps waiting checks for orphans.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final, TypeVar

from trellis_nats.clock import parse_timestamp
from trellis_nats.errors import MalformedJobEvent, TransportError
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, LeaseObservations
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.liveness import Answer, Liveness

__all__ = ["RESERVATION_TIMEOUT", "OrphanFinder", "Orphans", "is_abandoned", "is_orphaned", "overdue_slots"]

T = TypeVar("T")

RESERVATION_TIMEOUT: Final = timedelta(seconds=10)
"""How long an entry is reserved for a job that is not stored yet (jobs.md, "Keyed concurrency")."""
_ANSWER_TIMEOUT: Final = timedelta(seconds=1)
_CHECKED_MAX: Final = 32
"""How many waiting jobs, and how many slots, one call checks, chosen at random: a long queue costs no more than this."""
_ENDED_BY_WORKER: Final = frozenset({EventType.COMPLETED, EventType.FAILED})
"""Stored after the handler has returned. Other final events, such as `cancelled`, may be stored while it still runs."""


@dataclass(frozen=True, slots=True)
class Orphans:
    """What may be evicted from a record."""

    entries: frozenset[str] = frozenset()
    """Waiting jobs, by job id."""
    slots: frozenset[str] = frozenset()
    """Slots, by token."""

    def __bool__(self) -> bool:
        return bool(self.entries or self.slots)


def is_orphaned(
    entry: QueueEntry, newest: LifecycleEvent | None, *, at: datetime, seen_for: timedelta = timedelta(0)
) -> bool:
    """Return whether a waiting job will never run: it has ended, or was never stored.

    Args:
        entry: the entry of the job.
        newest: the newest event of the job. None: the job is not stored.
        at: the time now, by the wall clock.
        seen_for: how long the entry has been seen; the clock of the job's creator may be ahead.
    """
    if newest is not None:
        return newest.is_terminal
    return max(at - parse_timestamp(entry.created_at), seen_for) > RESERVATION_TIMEOUT


def is_abandoned(newest: LifecycleEvent | None, answer: Answer) -> bool:
    """Return whether no handler runs in a slot: its worker stored the job's end, or answers that it does not hold it."""
    return answer is Answer.FREE or (newest is not None and newest.event_type in _ENDED_BY_WORKER)


def overdue_slots(
    record: KeyRecord,
    policy: KeyPolicy,
    *,
    at: datetime,
    observations: LeaseObservations = NO_OBSERVATIONS,
    monotonic_at: float = 0.0,
) -> list[Slot]:
    """Return the slots whose renewal is overdue, by either clock. Only these are worth a check."""
    return [
        slot
        for slot in record.active
        if max(at - parse_timestamp(slot.renewed_at), observations.unrenewed_for(slot, at=monotonic_at))
        > policy.interval * 1.5
    ]


class OrphanFinder:
    """Finds the orphans in the records of one queue's keys."""

    def __init__(self, event_log: EventLog, liveness: Liveness, policy: KeyPolicy) -> None:
        self._event_log = event_log
        self._liveness = liveness
        self._policy = policy

    async def find(
        self,
        record: KeyRecord,
        *,
        at: datetime,
        observations: LeaseObservations = NO_OBSERVATIONS,
        entries: bool = True,
    ) -> Orphans:
        """Return the orphans in a record. Without `entries`, check only its slots: a read for each waiting job is saved.

        Raises:
            TransportError: NATS did not answer.
        """
        monotonic_at = monotonic()
        old = [
            entry
            for entry in record.queued
            if max(
                at - parse_timestamp(entry.created_at),
                observations.waiting_for(entry.job_id, at=monotonic_at),
            )
            > RESERVATION_TIMEOUT
        ]
        old = _sample(old) if entries else []
        overdue = _sample(
            overdue_slots(record, self._policy, at=at, observations=observations, monotonic_at=monotonic_at)
        )

        async def check_entry(entry: QueueEntry) -> bool:
            seen_for = observations.waiting_for(entry.job_id, at=monotonic_at)
            return await self._is_orphaned(entry, at=at, seen_for=seen_for)

        # All at once: each slot of a frozen process takes the whole timeout.
        orphaned, abandoned = await asyncio.gather(
            asyncio.gather(*map(check_entry, old)),
            asyncio.gather(*map(self._is_abandoned, overdue)),
        )
        return Orphans(
            frozenset(entry.job_id for entry, is_orphan in zip(old, orphaned, strict=True) if is_orphan),
            frozenset(slot.token for slot, is_orphan in zip(overdue, abandoned, strict=True) if is_orphan),
        )

    async def _is_orphaned(self, entry: QueueEntry, *, at: datetime, seen_for: timedelta) -> bool:
        try:
            newest = await self._event_log.newest(entry.job_id)
        except MalformedJobEvent:
            return False  # the job is stored, and other processes may be able to read it
        return is_orphaned(entry, None if newest is None else newest.event, at=at, seen_for=seen_for)

    async def _is_abandoned(self, slot: Slot) -> bool:
        try:
            newest = await self._event_log.newest(slot.job_id)
        except MalformedJobEvent:
            newest = None  # its worker is asked anyway
        event = None if newest is None else newest.event
        if is_abandoned(event, Answer.SILENT):
            return True
        try:
            # A frozen process must not delay the jobs that can take over its slot soon.
            timeout = min(_ANSWER_TIMEOUT, self._policy.margin)
            answer = await self._liveness.ask(
                slot.token, slot.instance_id, self._event_log.subjects, within=timeout
            )
        except TransportError:
            return False  # an account without the permission to ask waits until the lease expires
        return is_abandoned(event, answer)


def _sample(items: list[T]) -> list[T]:
    return items if len(items) <= _CHECKED_MAX else random.sample(items, _CHECKED_MAX)
