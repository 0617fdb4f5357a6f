"""What a record still holds for nobody: reservations whose job never came, and places of jobs that have ended.

A process can die between any two writes. So whoever is refused or kept waiting by a record looks whether those in it
still need their places.
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

__all__ = ["RESERVATION_GRACE", "OrphanFinder", "Orphans", "is_abandoned", "is_orphaned", "overdue_slots"]

T = TypeVar("T")

RESERVATION_GRACE: Final = timedelta(seconds=10)
"""How long a place may be reserved for a job that is not stored yet (jobs.md, "Keyed concurrency")."""
_ANSWER_WITHIN: Final = timedelta(seconds=1)
_LOOKED_AT_MAX: Final = 32
"""How many waiting jobs, and how many slots, are looked at in one go, at random: a long queue costs a refusal no more
than a short one."""
_ENDED_BY_ITS_WORKER: Final = frozenset({EventType.COMPLETED, EventType.FAILED})
"""Written once the handler has ended. The other ends may come while it still runs: a cancellation does."""


@dataclass(frozen=True, slots=True)
class Orphans:
    """What may be taken out of a record."""

    entries: frozenset[str] = frozenset()
    """Waiting jobs, by id."""
    slots: frozenset[str] = frozenset()
    """By token."""

    def __bool__(self) -> bool:
        return bool(self.entries or self.slots)


def is_orphaned(
    entry: QueueEntry, newest: LifecycleEvent | None, *, at: datetime, seen_for: timedelta = timedelta(0)
) -> bool:
    """Say whether a waiting job will never run: it has ended, or was never stored. `newest` is its newest event.

    `seen_for` is how long it has been seen to wait: its creator's clock may be ahead.
    """
    if newest is not None:
        return newest.is_terminal
    return max(at - parse_timestamp(entry.created_at), seen_for) > RESERVATION_GRACE


def is_abandoned(newest: LifecycleEvent | None, answer: Answer) -> bool:
    """Say whether nobody works in a slot: its worker wrote the end of the job, or says that it does not have it."""
    return answer is Answer.FREE or (newest is not None and newest.event_type in _ENDED_BY_ITS_WORKER)


def overdue_slots(
    record: KeyRecord,
    policy: KeyPolicy,
    *,
    at: datetime,
    observations: LeaseObservations = NO_OBSERVATIONS,
    monotonic_at: float = 0.0,
) -> list[Slot]:
    """Return the slots that should have been renewed by now, by either clock: only they are worth a look."""
    return [
        slot
        for slot in record.active
        if max(at - parse_timestamp(slot.renewed_at), observations.unrenewed_for(slot, at=monotonic_at))
        > policy.interval * 1.5
    ]


class OrphanFinder:
    """Looks at those who hold places."""

    def __init__(self, event_log: EventLog, claims: Liveness, policy: KeyPolicy) -> None:
        self._event_log = event_log
        self._claims = claims
        self._policy = policy

    async def orphans(
        self, record: KeyRecord, *, at: datetime, observations: LeaseObservations = NO_OBSERVATIONS
    ) -> Orphans:
        """Return who in a record holds a place for nobody, by what has been seen of it.

        Raises:
            TransportError: NATS did not answer.
        """
        tick = monotonic()
        old = [
            entry
            for entry in record.queued
            if max(at - parse_timestamp(entry.created_at), observations.waits_for(entry.job_id, at=tick))
            > RESERVATION_GRACE
        ]
        old = _some(old)
        overdue = _some(
            overdue_slots(record, self._policy, at=at, observations=observations, monotonic_at=tick)
        )
        # All at once: each slot of a frozen process is waited for.
        orphaned, abandoned = await asyncio.gather(
            asyncio.gather(
                *(
                    self._is_orphaned(entry, at=at, seen_for=observations.waits_for(entry.job_id, at=tick))
                    for entry in old
                )
            ),
            asyncio.gather(*map(self._is_abandoned, overdue)),
        )
        return Orphans(
            frozenset(entry.job_id for entry, is_one in zip(old, orphaned, strict=True) if is_one),
            frozenset(slot.token for slot, is_one in zip(overdue, abandoned, strict=True) if is_one),
        )

    async def _is_orphaned(self, entry: QueueEntry, *, at: datetime, seen_for: timedelta) -> bool:
        try:
            newest = await self._event_log.newest(entry.job_id)
        except MalformedJobEvent:
            return False  # it is stored, and may be readable to others
        return is_orphaned(entry, None if newest is None else newest.event, at=at, seen_for=seen_for)

    async def _is_abandoned(self, slot: Slot) -> bool:
        try:
            newest = await self._event_log.newest(slot.job_id)
        except MalformedJobEvent:
            newest = None  # its worker is asked all the same
        event = None if newest is None else newest.event
        if is_abandoned(event, Answer.SILENT):
            return True
        try:
            # A frozen process must not keep those waiting to whom its lease will soon be open.
            within = min(_ANSWER_WITHIN, self._policy.margin)
            answer = await self._claims.ask(slot.token, slot.instance_id, within=within)
        except TransportError:
            return False  # an account that may not ask waits for the end of the lease
        return is_abandoned(event, answer)


def _some(found: list[T]) -> list[T]:
    return found if len(found) <= _LOOKED_AT_MAX else random.sample(found, _LOOKED_AT_MAX)
