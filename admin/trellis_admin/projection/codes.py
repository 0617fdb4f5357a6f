"""The numbers that stand for names in the rows of the projection. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from trellis_nats.jobs.model.states import EventType, JobState

__all__ = [
    "DELTA",
    "EVENT_KINDS",
    "FIRST_ENDED",
    "IGNORED",
    "MINUTE",
    "RELEASED",
    "RUN",
    "STATES",
    "STATE_CODES",
    "STEPS",
    "WAIT",
    "bucket_of",
    "bucket_top",
    "from_milliseconds",
    "to_milliseconds",
]

STATES: Final = (
    JobState.PENDING,
    JobState.ACTIVE,
    JobState.RETRY,
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.EXPIRED,
    JobState.SKIPPED,
    JobState.STALE,
    JobState.DEAD,
    JobState.DISMISSED,
)
"""The state of each code. The partial indexes of the schema depend on the order: open states first."""
STATE_CODES: Final = {state: code for code, state in enumerate(STATES)}
FIRST_ENDED: Final = 3
"""The first code of a job that has ended."""

EVENT_KINDS: Final = {
    EventType.CREATED: 1,
    EventType.STARTED: 2,
    EventType.RETRY: 3,
    EventType.COMPLETED: 4,
    EventType.FAILED: 5,
    EventType.CANCELLED: 6,
    EventType.EXPIRED: 7,
    EventType.SKIPPED: 8,
    EventType.STALE: 9,
    EventType.STALE_COMPLETION_IGNORED: 10,
    EventType.RETRIED: 11,
    EventType.DEAD: 12,
    EventType.DISMISSED: 13,
}
"""Kinds of the series that count events of a type."""
RELEASED: Final = 14
"""Counts the `retry` events of stopping workers, which gave the attempt back. They do not count as `retry`."""
IGNORED: Final = 99
"""Events that did not count, of whatever type."""
DELTA: Final = 100
"""Added to a state's code: how many jobs entered that state, less those that left it."""
WAIT: Final = 1_000
"""Added to a bucket: attempts that began after a wait of that length."""
RUN: Final = 2_000
"""Added to a bucket: attempts that ran for that long."""

MINUTE: Final = 60_000
"""In milliseconds."""
STEPS: Final = ((1, 25 * 60), (10, 8 * 24 * 60))
"""The steps of series in minutes, and for how many minutes each is kept."""

_PER_DOUBLING: Final = 4
"""Buckets between a duration and twice that: a quantile is at most a fifth too high."""
_LAST_BUCKET: Final = 140
"""About a year."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def bucket_of(milliseconds: int) -> int:
    """Return the bucket of a duration: the first one whose top is not below it."""
    if milliseconds <= 1:
        return 0
    return min(math.ceil(_PER_DOUBLING * math.log2(milliseconds) - 1e-9), _LAST_BUCKET)


def bucket_top(bucket: int) -> timedelta:
    """Return the longest duration in a bucket."""
    return timedelta(milliseconds=round(2 ** (bucket / _PER_DOUBLING)))


def to_milliseconds(instant: datetime) -> int:
    """Return an instant as it is stored: milliseconds since 1970."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def from_milliseconds(stored: int) -> datetime:
    """Return a stored instant."""
    return _EPOCH + timedelta(milliseconds=stored)
