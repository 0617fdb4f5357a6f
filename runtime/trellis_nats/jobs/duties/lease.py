"""Who holds the duties of a service: a record, and what an observer may conclude from it. Pure.

Clocks of other machines are never compared: a lease is over when its record has not changed for long enough, by the
observer's own monotonic clock (faults.md, R13).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats.clock import timestamp

__all__ = ["LEASE_KEY", "LeaseRecord", "Sighting", "Timing", "may_take", "sighted"]

LEASE_KEY: Final = "duty.jobs"
"""Of the record in the bucket `JOBS_KEYS_<namespace>`; the keys of jobs there have three tokens."""

_TURNS: Final = 6
_TURNS_HELD: Final = 4


class LeaseRecord(BaseModel):
    """What is stored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    holder: str | None
    """The instance; None: it gave the lease back."""
    renewed_at: str
    """For people only."""

    @classmethod
    def of(cls, holder: str | None, at: datetime) -> Self:
        """Write a record at an instant."""
        return cls(holder=holder, renewed_at=timestamp(at))

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


@dataclass(frozen=True, slots=True)
class Sighting:
    """A revision of the record, and since when the observer has seen it."""

    revision: int
    holder: str | None
    since: float
    """By the observer's monotonic clock, in seconds."""


def sighted(before: Sighting | None, *, revision: int, holder: str | None, at: float) -> Sighting:
    """Take note of the record as it was read at a moment."""
    if before is not None and before.revision == revision:
        return before
    return Sighting(revision, holder, at)


def may_take(sighting: Sighting, *, me: str, at: float, timing: Timing) -> bool:
    """Say whether an instance may write itself into the record."""
    if sighting.holder is None or sighting.holder == me:
        return True
    return at - sighting.since >= timing.held_for.total_seconds()
