"""Decides what to do with a work message, by the job's history. Pure.

A message never proves that work is still to be done: servers before 2.15 redeliver finished jobs after a restart
(faults.md, fact 3). The history decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from trellis_nats.jobs.model.event import LifecycleEvent, instant
from trellis_nats.jobs.model.states import EventType, JobState

__all__ = [
    "Exhausted",
    "Finished",
    "Overdue",
    "Start",
    "TooEarly",
    "Triage",
    "is_outdated",
    "time_to_retry",
    "triage",
]

_NO_WAIT: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class Finished:
    """The job has ended, or it has a newer message: acknowledge, and do nothing."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The deadline passed before the job could end: write `expired`."""

    previous: JobState
    tries: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Every attempt is used up, the last one by a worker that died: write `dead`."""

    previous: JobState
    tries: int
    error: str


class Start(NamedTuple):
    """Begin an attempt."""

    previous: JobState
    tries: int
    """The number of the attempt that begins."""


@dataclass(frozen=True, slots=True)
class TooEarly:
    """The job may not begin yet: return the message until then. No attempt is used."""

    delay: timedelta


Triage = Finished | Overdue | Exhausted | TooEarly | Start


def triage(
    work: LifecycleEvent,
    newest: LifecycleEvent,
    *,
    max_attempts: int,
    at: datetime,
    retry_in: timedelta = _NO_WAIT,
) -> Triage:
    """Decide about a work message.

    Args:
        work: the event in the message.
        newest: the newest event of the job.
        max_attempts: how many attempts the job has.
        at: the current time.
        retry_in: how long a job that failed still waits for its next attempt (`time_to_retry`).
    """
    if newest.is_terminal:
        return Finished()
    if newest.event_type == EventType.RETRIED and is_outdated(work, newest):
        return Finished()
    state, used = newest.effective_state, newest.tries
    deadline, not_before = instant(work.deadline), instant(work.not_before)
    if deadline is not None and deadline <= at:
        return Overdue(state, used)
    wait = retry_in if not_before is None else max(retry_in, not_before - at)
    if wait > _NO_WAIT:
        return TooEarly(wait)
    if used >= max_attempts:
        reason = "its worker died" if state is JobState.ACTIVE else newest.error or "it failed"
        return Exhausted(state, used, f"every attempt failed ({used} of {max_attempts}): {reason}")
    return Start(state, used + 1)


def time_to_retry(newest: LifecycleEvent, *, stored_at: datetime | None, server_time: datetime) -> timedelta:
    """Return how long a job still waits for its next attempt; zero or less when it is due.

    How long it waits in total is the difference of two times of its writer, and how long it has waited is the
    difference of two times of the server: no wall clock that is wrong makes it wait longer, or shorter.
    """
    if newest.event_type != EventType.RETRY or stored_at is None:
        return _NO_WAIT
    return newest.wait - (server_time - stored_at)


def is_outdated(work: LifecycleEvent, retried: LifecycleEvent) -> bool:
    """Return whether a work message is older than an operator's retry of the job."""
    return (work.event_type, work.timestamp) != (retried.event_type, retried.timestamp)
