"""Which leases are over, as one observer may conclude. Pure: the caller gives the clock.

Clocks of other machines are not trusted (faults.md, R13). A hold is over when it was not renewed for the length of its
lease by the observer's own monotonic clock; its owner counts from before it sent the renewal, so it stops first.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from trellis_nats.jobs.keys.model.record import KeyRecord, Slot

__all__ = ["NO_OBSERVATIONS", "LeaseObservations", "observe"]


@dataclass(frozen=True, slots=True)
class _Sighting:
    expires_at: str
    """As it stands in the record: another one means that it was renewed."""
    since: float


@dataclass(frozen=True, slots=True)
class LeaseObservations:
    """The holds of one key, and since when each has been seen without a renewal."""

    seen: dict[str, _Sighting] = field(default_factory=dict[str, _Sighting])
    """By token. Never changed."""
    entries: dict[str, float] = field(default_factory=dict[str, float])
    """Since when each waiting job has been seen, by its id. Never changed."""

    def waits_for(self, job_id: str, *, at: float) -> timedelta:
        """Return how long a job has been seen waiting."""
        return timedelta(seconds=at - self.entries.get(job_id, at))

    def unrenewed_for(self, slot: Slot, *, at: float) -> timedelta:
        """Return how long a hold has been seen without a renewal."""
        return timedelta(seconds=at - self._since(slot, at))

    def expired(self, record: KeyRecord, *, at: float) -> AbstractSet[str]:
        """Return the tokens of the slots whose lease is over. `at` is the monotonic clock, in seconds."""
        return {
            slot.token for slot in record.active if at - self._since(slot, at) >= slot.lease.total_seconds()
        }

    def next_end(self, record: KeyRecord, *, at: float) -> timedelta | None:
        """Return how long it takes until the next lease is over, if nothing is renewed; None without a slot."""
        ends = [self._since(slot, at) + slot.lease.total_seconds() - at for slot in record.active]
        return timedelta(seconds=max(0.0, min(ends))) if ends else None

    def _since(self, slot: Slot, at: float) -> float:
        sighting = self.seen.get(slot.token)
        return at if sighting is None or sighting.expires_at != slot.expires_at else sighting.since


def observe(before: LeaseObservations, record: KeyRecord, *, at: float) -> LeaseObservations:
    """Take note of the record as it was read at a moment; holds that are gone are forgotten."""
    seen: dict[str, _Sighting] = {}
    for slot in record.active:
        known = before.seen.get(slot.token)
        same = known is not None and known.expires_at == slot.expires_at
        seen[slot.token] = known if known is not None and same else _Sighting(slot.expires_at, at)
    return LeaseObservations(
        seen, {entry.job_id: before.entries.get(entry.job_id, at) for entry in record.queued}
    )


NO_OBSERVATIONS: Final = LeaseObservations()
