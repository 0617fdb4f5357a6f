"""What becomes of a job and of its work message, by how the handler ended. Pure: a table with a test per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Final, NamedTuple, assert_never

from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType, JobState

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
SLOT_LOST = "the job lost its slot of its concurrency key while it ran"


class Completed(NamedTuple):
    """The handler returned a result that matches its schema."""

    result: bytes | None = None
    """Its text; None where the queue declares no result."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler gave up, or returned what does not match the schema: the code is wrong, not the world."""

    error: str


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised, or asked to be tried again after a given time."""

    error: str
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Someone cancelled the job, and wrote so already."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The handler itself raised `JobCancelled`, and nobody has written so yet."""

    error: str


@dataclass(frozen=True, slots=True)
class Released:
    """The host stops, and the handler's grace is over."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another worker has the job now, or it ended some other way."""


@dataclass(frozen=True, slots=True)
class SlotLost:
    """The job lost its slot of its concurrency key, and the handler was stopped."""


Ending = Completed | Failed | Raised | Cancelled | Withdrawn | Released | Superseded | SlotLost


class Acknowledgement(Enum):
    """What is told to the server about the work message."""

    CONFIRMED = auto()
    """Acknowledge, and wait until the server has confirmed it."""
    AGAIN = auto()
    """Give it back, to be delivered again after the delay."""
    LEAVE = auto()
    """Say nothing: somebody else holds the job, and an acknowledgement would take it from them."""


class Settlement(NamedTuple):
    """What to write about a job, and what to tell about its message."""

    acknowledgement: Acknowledgement
    event: EventType | None
    """None: write nothing."""
    state: JobState = JobState.ACTIVE
    tries: int = 0
    error: str | None = None
    delay: timedelta = timedelta(0)


def backoff_delay(backoff: Sequence[timedelta], tries: int) -> timedelta:
    """Return the wait after the given try, counted from 1. The last step repeats; no steps mean no wait."""
    return backoff[min(tries, len(backoff)) - 1] if backoff else timedelta(0)


def settle(ending: Ending, *, tries: int, max_deliver: int, backoff: Sequence[timedelta]) -> Settlement:
    """Map the end of a try to its event and acknowledgement.

    `tries` counts this try, from 1.
    """
    match ending:
        case Completed():
            return _final(EventType.COMPLETED, tries, None)
        case Failed(error):
            return _final(EventType.FAILED, tries, error)
        case Raised(error) if tries >= max_deliver:
            return _final(EventType.DEAD, tries, error)
        case Raised(error, after):
            return Settlement(
                event=EventType.RETRY,
                state=JobState.RETRY,
                tries=tries,
                error=error,
                acknowledgement=Acknowledgement.AGAIN,
                delay=backoff_delay(backoff, tries) if after is None else after,
            )
        case Cancelled():
            return Settlement(event=None, tries=tries, acknowledgement=Acknowledgement.CONFIRMED)
        case Withdrawn(error):
            return _final(EventType.CANCELLED, tries, error)
        case Released():
            return Settlement(
                event=EventType.RETRY,
                state=JobState.RETRY,
                tries=tries - 1,
                error=RELEASED,
                acknowledgement=Acknowledgement.AGAIN,
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


_STATE_AFTER: Final = {event: JobState(event.value) for event in TERMINAL_EVENTS}
"""The state of a job after its last event has the event's name."""


def _final(event: EventType, tries: int, error: str | None) -> Settlement:
    return Settlement(
        event=event,
        state=_STATE_AFTER[event],
        tries=tries,
        error=error,
        acknowledgement=Acknowledgement.CONFIRMED,
    )
