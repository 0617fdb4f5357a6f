"""The lease that makes one instance the leader: the stored record, and when another instance may take it. Pure.

Clocks of different machines are never compared: a lease has expired when its record has not changed for long enough by
the observer's own monotonic clock (faults.md, R13).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats.clock import from_milliseconds, timestamp, to_milliseconds
from trellis_nats.jobs.model.subjects import LEASES_PREFIX

__all__ = ["LEASE_KEY", "LeaderObservation", "LeaseRecord", "LeaseTiming", "may_take", "observe"]

LEASE_KEY: Final = f"{LEASES_PREFIX}.jobs"
"""The key of the record in the bucket `JOBS_KEYS_<namespace>`. The keys of jobs in that bucket have three tokens."""

_INTERVALS: Final = 6
_INTERVALS_HELD: Final = 4


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The intervals that follow from how long a service may be without a leader after its leader died."""

    length: timedelta

    @property
    def interval(self) -> timedelta:
        """How often the leader renews the lease and the other instances check it: a sixth of the length."""
        return self.length / _INTERVALS

    @property
    def held_for(self) -> timedelta:
        """How long a renewal lasts: four intervals. Three renewals may fail, and one interval is left to notice the end."""
        return self.interval * _INTERVALS_HELD


class LeaseRecord(BaseModel):
    """The stored record."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    holder: str | None
    """The id of the leader. None: the leader released the lease."""
    held_for_ms: int = Field(ge=0)
    """How long the lease lasts without another renewal. Observers use this number, whatever their own options are."""
    renewed_at: str
    """When the record was written. For people only: no decision uses it."""

    @classmethod
    def of(cls, holder: str | None, timing: LeaseTiming, at: datetime) -> Self:
        """Build the record for a renewal at an instant; without a holder, the record that releases the lease."""
        held_for = to_milliseconds(timing.held_for)
        return cls(holder=holder, held_for_ms=held_for, renewed_at=timestamp(at))

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Decode a record. None: the data is not a record."""
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            return None

    def encode(self) -> bytes:
        """Encode the record as JSON."""
        return self.model_dump_json(by_alias=True).encode()


@dataclass(frozen=True, slots=True)
class LeaderObservation:
    """A revision of the record, and since when the observer has seen it."""

    revision: int
    record: LeaseRecord | None
    """None: the stored value is not a record."""
    since: float
    """By the observer's monotonic clock, in seconds."""


def observe(
    before: LeaderObservation | None, *, revision: int, record: LeaseRecord | None, at: float
) -> LeaderObservation:
    """Return the observation after a read of the record at the time `at`."""
    if before is not None and before.revision == revision:
        return before
    return LeaderObservation(revision, record, at)


def may_take(observation: LeaderObservation, *, me: str, at: float) -> bool:
    """Return whether the instance `me` may write itself into the record."""
    record = observation.record
    if record is None or record.holder is None or record.holder == me:
        return True
    return at - observation.since >= from_milliseconds(record.held_for_ms).total_seconds()
