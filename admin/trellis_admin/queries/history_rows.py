"""What is read about one job from the stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import JsonValue
from trellis_nats.jobs.model.event import JobProgress
from trellis_nats.jobs.model.states import JobState

__all__ = [
    "Attempt",
    "AttemptEnd",
    "HistoryEvent",
    "JobHistory",
    "LogLine",
    "StoredCheckpoint",
    "Wait",
    "WaitReason",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """One event of a job. Its payload and its result are in `JobHistory`."""

    sequence: int
    kind: str
    """Its type, as on the wire."""
    is_counted: bool
    """Whether readers count it: what is stored behind an ending, for example, does not count."""
    state: JobState
    """The state of the job after it, if it counts."""
    tries: int
    stored_at: datetime
    """When the server stored it."""
    written_at: datetime | None
    """When its writer wrote it; None for a time that cannot be read."""
    error: str | None = None
    error_type: str | None = None
    stack: str | None = None
    worker: str | None = None
    progress: JobProgress | None = None
    not_before: datetime | None = None
    actor: str | None = None
    reason: str | None = None
    source: str | None = None
    """Where the action was taken: the console, the command line …"""
    bulk: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a handler logged."""

    at: datetime
    level: str
    message: str
    sequence: int


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A value that a handler stored for the next attempt."""

    at: datetime
    sequence: int
    size: int
    """Bytes. `Operator.reveal` returns the value."""


class AttemptEnd(StrEnum):
    """How an attempt ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    """The handler gave up, or the payload or the result is not valid: no further attempt."""
    RETRY = "retry"
    """It failed, and another attempt follows."""
    DEAD = "dead"
    """It failed, and was the last one."""
    RELEASED = "released"
    """Its worker stopped and gave the attempt back."""
    LOST = "lost"
    """Its worker stopped answering: the attempt counts."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    STALE = "stale"
    """It lost its slot of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to run the job."""

    number: int
    """As its `started` event says: an attempt after one that was given back has the same number."""
    worker: str | None
    started_at: datetime
    ended_at: datetime | None
    """None while it runs. Nothing says when a worker was lost: then it is when the next attempt or the end of the job began."""
    seen_at: datetime
    """When its last event was stored."""
    waited: timedelta
    """From when the job could begin until it did."""
    end: AttemptEnd
    error: str | None
    error_type: str | None
    stack: str | None
    logs: tuple[LogLine, ...]
    progress: JobProgress | None
    """The last report."""
    checkpoints: tuple[StoredCheckpoint, ...]
    next_at: datetime | None
    """When the next attempt may begin at the earliest, where it says."""

    @property
    def known_until(self) -> datetime | None:
        """Until when it is known to have run; None while it runs."""
        return self.seen_at if self.end is AttemptEnd.LOST else self.ended_at


class WaitReason(StrEnum):
    """Why a job did not run."""

    QUEUED = "queued"
    """It could begin, and waited for a worker, or for its key."""
    DELAY = "delay"
    """It was created with a delay."""
    BACKOFF = "backoff"
    """A retry whose time had not come."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A part of the life of a job in which it did not run."""

    reason: WaitReason
    since: datetime
    until: datetime | None
    """None: it still waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """A job with everything that the stream has of it but values: its payload, its result and its checkpoints."""

    id: str
    prefix: str
    service: str
    queue: str
    state: JobState
    state_sequence: int
    last_sequence: int
    tries: int
    max_tries: int
    error: str | None
    created_at: datetime
    ended_at: datetime | None
    deadline: datetime | None
    events: tuple[HistoryEvent, ...]
    """The oldest first."""
    attempts: tuple[Attempt, ...]
    waits: tuple[Wait, ...]
    logs: tuple[LogLine, ...]
    """Of all attempts."""
    payload_size: int | None
    """Bytes; None where the stream does not have the payload any more. `Operator.reveal` returns it."""
    payload_sequence: int | None
    """The event that it is in."""
    result_size: int | None
    """Bytes; None where the job has no result. `Operator.reveal` returns it."""
    result_sequence: int | None
    """The event that it is in."""
    checkpoint: StoredCheckpoint | None
    """The newest one, which the next attempt reads."""
    key: str | None
    key_hash: str | None
    trigger: JsonValue
    lineage: JsonValue
    digest: str | None
    """Of the contract that wrote the payload."""
    trace_id: str
    request_id: str
    traceparent: str
    is_cut: bool
    """Whether there are more events than are read: reports in the middle are left out then."""
