"""Who holds the duties of a service: a record, and what an observer may conclude from it. Pure.

Clocks of other machines are never compared: a lease is over when its record has not changed for long enough, by the
observer's own monotonic clock (faults.md, R13).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats.clock import from_milliseconds, timestamp, to_milliseconds

__all__ = ["LEASE_KEY", "LeaderObservation", "LeaseRecord", "Timing", "may_take", "observe"]

LEASE_KEY: Final = "duty.jobs"
"""Of the record in the bucket `JOBS_KEYS_<namespace>`; the keys of jobs there have three tokens."""

_TURNS: Final = 6
_TURNS_HELD: Final = 4


@dataclass(frozen=True, slots=True)
class Timing:
    """What follows from how long a duty may be without a holder after its holder died."""

    length: timedelta

    @property
    def turn(self) -> timedelta:
        """How often the holder renews, and the others look: a sixth of the length."""
        return self.length / _TURNS

    @property
    def held_for(self) -> timedelta:
        """How long a renewal lasts: four turns, so that three may fail, and one turn is left to notice the end."""
        return self.turn * _TURNS_HELD


class LeaseRecord(BaseModel):
    """What is stored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    holder: str | None
    """The instance; None: it gave the lease back."""
    held_for_ms: int = Field(ge=0)
    """How long it is the holder's without another renewal. Others go by this number, whatever their own options say."""
    renewed_at: str
    """For people only."""

    @classmethod
    def of(cls, holder: str | None, timing: Timing, at: datetime) -> Self:
        """Write a record at an instant."""
        held_for = to_milliseconds(timing.held_for)
        return cls(holder=holder, held_for_ms=held_for, renewed_at=timestamp(at))

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Read a record; None for what is none."""
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            return None

    def encode(self) -> bytes:
        """Write the record as JSON."""
        return self.model_dump_json(by_alias=True).encode()


@dataclass(frozen=True, slots=True)
class LeaderObservation:
    """A revision of the record, and since when the observer has seen it."""

    revision: int
    record: LeaseRecord | None
    """None: what is stored is no record."""
    since: float
    """By the observer's monotonic clock, in seconds."""


def observe(
    before: LeaderObservation | None, *, revision: int, record: LeaseRecord | None, at: float
) -> LeaderObservation:
    """Take note of the record as it was read at a moment."""
    if before is not None and before.revision == revision:
        return before
    return LeaderObservation(revision, record, at)


def may_take(sighting: LeaderObservation, *, me: str, at: float) -> bool:
    """Say whether an instance may write itself into the record."""
    record = sighting.record
    if record is None or record.holder is None or record.holder == me:
        return True
    return at - sighting.since >= from_milliseconds(record.held_for_ms).total_seconds()
