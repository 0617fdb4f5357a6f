"""Maps how a handler ended to the event of its job and the answer to its message. Pure: a table with a test per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple, assert_never

from trellis_nats.jobs.model.error_detail import ErrorDetail
from trellis_nats.jobs.model.states import STATE_AFTER, EventType, JobState

__all__ = [
    "Acknowledgement",
    "Cancelled",
    "Completed",
    "Ending",
    "Failed",
    "Raised",
    "Released",
    "Settlement",
    "SlotLost",
    "Superseded",
    "Withdrawn",
    "backoff_delay",
    "settle",
]

RELEASED = "released by a stopping worker"
"""The error of a `retry` that gives an attempt back: readers know the release by it."""
SLOT_LOST = "the job lost its slot of its concurrency key while it ran"


class Completed(NamedTuple):
    """The handler returned a result that matches its schema."""

    result: bytes | None = None
    """Its text; None where the queue declares no result."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised `JobFailed`, or its result does not match the schema: another attempt would not help."""

    error: str
    detail: ErrorDetail | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised, or asked for another attempt after a given time."""

    error: str
    after: timedelta | None = None
    detail: ErrorDetail | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job was cancelled, and its history says so."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The handler itself raised `JobCancelled`; the history does not say so yet."""

    error: str


@dataclass(frozen=True, slots=True)
class Released:
    """The worker stops, and the grace period is over."""

    delay: timedelta = timedelta(0)
    """How long the job waits before its next attempt."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another worker runs the job now, or the job ended in some other way."""


@dataclass(frozen=True, slots=True)
class SlotLost:
    """The job lost its slot of its concurrency key, and the handler was stopped."""


Ending = Completed | Failed | Raised | Cancelled | Withdrawn | Released | Superseded | SlotLost


class Acknowledgement(Enum):
    """How the work message is answered."""

    CONFIRMED = auto()
    """Acknowledge, and wait for the server's confirmation."""
    AGAIN = auto()
    """Have it redelivered after the delay."""
    LEAVE = auto()
    """Do not answer: another worker runs the job, and an acknowledgement would remove its message."""


class Settlement(NamedTuple):
    """The event to write, and how to answer the message."""

    acknowledgement: Acknowledgement
    event: EventType | None
    """None: write nothing."""
    state: JobState = JobState.ACTIVE
    """The job's state after the event."""
    tries: int = 0
    """How many attempts the job has used after it."""
    error: str | None = None
    delay: timedelta = timedelta(0)
    """How long the message waits before it is redelivered, where it is."""
    detail: ErrorDetail | None = None


def backoff_delay(backoff: Sequence[timedelta], tries: int) -> timedelta:
    """Return the delay after the given attempt, counted from 1. The last step repeats; no steps mean no delay."""
    return backoff[min(tries, len(backoff)) - 1] if backoff else timedelta(0)


def settle(ending: Ending, *, tries: int, max_attempts: int, backoff: Sequence[timedelta]) -> Settlement:
    """Map the end of an attempt to its event and acknowledgement.

    Args:
        ending: how the handler ended.
        tries: the number of this attempt, counted from 1.
        max_attempts: how many attempts the job has.
        backoff: the delays between attempts.
    """
    match ending:
        case Completed():
            return _completed(tries)
        case Failed(error, detail):
            return _final(EventType.FAILED, tries, error, detail)
        case Raised(error, _, detail) if tries >= max_attempts:
            return _final(EventType.DEAD, tries, error, detail)
        case Raised(error, after, detail):
            return Settlement(
                event=EventType.RETRY,
                state=JobState.RETRY,
                tries=tries,
                error=error,
                acknowledgement=Acknowledgement.AGAIN,
                delay=backoff_delay(backoff, tries) if after is None else after,
                detail=detail,
            )
        case Cancelled():
            return Settlement(event=None, tries=tries, acknowledgement=Acknowledgement.CONFIRMED)
        case Withdrawn(error):
            return _final(EventType.CANCELLED, tries, error)
        case Released(delay):
            return Settlement(
                event=EventType.RETRY,
                state=JobState.RETRY,
                tries=tries - 1,
                error=RELEASED,
                acknowledgement=Acknowledgement.AGAIN,
                delay=delay,
            )
        case Superseded():
            return Settlement(event=None, tries=tries, acknowledgement=Acknowledgement.LEAVE)
        case SlotLost():
            return Settlement(
                event=EventType.STALE_COMPLETION_IGNORED,
                tries=tries,
                error=SLOT_LOST,
                acknowledgement=Acknowledgement.AGAIN,
            )
        case _:
            assert_never(ending)


@lru_cache(maxsize=16)  # it is the same for almost every job
def _completed(tries: int) -> Settlement:
    return _final(EventType.COMPLETED, tries, None)


def _final(event: EventType, tries: int, error: str | None, detail: ErrorDetail | None = None) -> Settlement:
    return Settlement(
        event=event,
        state=STATE_AFTER[event],
        tries=tries,
        error=error,
        acknowledgement=Acknowledgement.CONFIRMED,
        detail=detail,
    )
