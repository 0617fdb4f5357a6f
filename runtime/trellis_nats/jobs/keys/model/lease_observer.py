"""Decides which leases have expired, from one observer's reads of a record. Pure: the caller passes the clock.

Clocks of other machines are not trusted (faults.md, R13). A lease has expired when the observer has not seen a renewal for
its length, by the observer's monotonic clock. The owner counts from before it sent the renewal, so it stops first.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from trellis_nats.jobs.keys.model.record import KeyRecord, Slot

__all__ = ["NO_OBSERVATIONS", "LeaseObservations", "observe"]


@dataclass(frozen=True, slots=True)
class _Observation:
    expires_at: str
    """As in the record: a different value means that the lease was renewed."""
    since: float


@dataclass(frozen=True, slots=True)
class LeaseObservations:
    """What one observer has seen of the record of a key. Immutable."""

    slots: dict[str, _Observation] = field(default_factory=dict[str, _Observation])
    """Since when each slot has been seen without a renewal, by token."""
    entries: dict[str, float] = field(default_factory=dict[str, float])
    """Since when each waiting job has been seen, by job id."""

    def waiting_for(self, job_id: str, *, at: float) -> timedelta:
        """Return how long a job has been seen waiting."""
        return timedelta(seconds=at - self.entries.get(job_id, at))

    def unrenewed_for(self, slot: Slot, *, at: float) -> timedelta:
        """Return how long a slot has been seen without a renewal."""
        return timedelta(seconds=at - self._since(slot, at))

    def expired(self, record: KeyRecord, *, at: float) -> AbstractSet[str]:
        """Return the tokens of the slots whose lease has expired. `at` is the monotonic clock, in seconds."""
        return {
            slot.token for slot in record.active if at - self._since(slot, at) >= slot.lease.total_seconds()
        }

    def next_expiry(self, record: KeyRecord, *, at: float) -> timedelta | None:
        """Return the time until the next lease expires if none is renewed. None: no slot is taken."""
        ends = [self._since(slot, at) + slot.lease.total_seconds() - at for slot in record.active]
        return timedelta(seconds=max(0.0, min(ends))) if ends else None

    def _since(self, slot: Slot, at: float) -> float:
        observation = self.slots.get(slot.token)
        return at if observation is None or observation.expires_at != slot.expires_at else observation.since


def observe(before: LeaseObservations, record: KeyRecord, *, at: float) -> LeaseObservations:
    """Return the observations after the record was read at the time `at`. Slots and jobs that left it are dropped."""
    slots: dict[str, _Observation] = {}
    for slot in record.active:
        known = before.slots.get(slot.token)
        same = known is not None and known.expires_at == slot.expires_at
        slots[slot.token] = known if known is not None and same else _Observation(slot.expires_at, at)
    return LeaseObservations(
        slots, {entry.job_id: before.entries.get(entry.job_id, at) for entry in record.queued}
    )


NO_OBSERVATIONS: Final = LeaseObservations()
