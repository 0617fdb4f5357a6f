"""What the queries return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import JsonValue
from trellis_nats.jobs.model.event import JobProgress
from trellis_nats.jobs.model.states import JobState

__all__ = [
    "BLOCKED_AFTER",
    "Attention",
    "AttentionKind",
    "Count",
    "ErrorGroup",
    "JobPage",
    "JobRow",
    "KeyRow",
    "Overview",
    "ProjectionStatus",
    "QueueRow",
    "Series",
    "Target",
    "WorkedQueueRow",
    "WorkerRow",
]


class Count(NamedTuple):
    """How many jobs there are, as far as they were counted."""

    number: int
    is_exact: bool = True
    """False: there are more than `number`, which was counted before the query stopped."""


class Series(NamedTuple):
    """One number for each step of a window, oldest first."""

    start: datetime
    """When the first step begins."""
    step: timedelta
    values: tuple[int, ...]
    """The last step is the one that is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as it stood at the sequence of the query. Its payload, logs and result are in the stream."""

    id: str
    prefix: str
    """The publish prefix of its queue: its events have the subjects `<prefix>.<id>.>`."""
    service: str
    queue: str
    state: JobState
    created_sequence: int
    state_sequence: int
    """The event that made the current state, or began the current attempt. Reports of a running attempt do not change it."""
    last_sequence: int
    """The newest event of the job."""
    created_at: datetime
    updated_at: datetime
    state_at: datetime
    """When the job entered its state."""
    started_at: datetime | None
    """When the newest attempt started; None after a replay, until it starts."""
    ended_at: datetime | None
    next_at: datetime | None
    """When a job that waits may begin at the earliest; None when that is at once."""
    deadline: datetime | None
    tries: int
    """How many attempts were started, except those that a stopping worker gave back."""
    max_tries: int
    error: str | None
    """The beginning of the newest error, at most 1,000 characters."""
    error_type: str | None
    fingerprint: str | None
    """Eight hexadecimal digits that jobs with alike errors share."""
    key: str | None
    key_hash: str | None
    worker: str | None
    """The process that began the newest attempt."""
    digest: str | None
    """Of the contract that wrote the job."""
    trace_id: str | None
    request_id: str | None
    trigger: str | None
    """Why the job exists, as its creator says: serviceCode, parentJob, manualReplay …"""
    parent_id: str | None
    root_id: str | None
    progress: JobProgress | None
    bulk: str | None
    """The newest bulk action that changed the job."""
    actor: str | None
    """The newest operator who changed it."""
    payload_bytes: int


class Target(NamedTuple):
    """A job that an action is to change, as it was seen."""

    prefix: str
    id: str
    state: JobState
    state_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Some jobs of a selection."""

    rows: tuple[JobRow, ...]
    total: Count
    """How many jobs the selection has."""
    at: int
    """The sequence of the selection."""
    newer: Count
    """How many jobs match the filter, but were changed after `at`."""
    next: int | None
    """Pass it as `before` for the next page; None on the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Jobs of one queue with alike errors."""

    fingerprint: str
    error_type: str | None
    pattern: str
    """The first line of the error with placeholders for what differs: `number`, `id`, `text`, `url` …, in angle brackets."""
    service: str
    queue: str
    prefix: str
    jobs: int
    first_seen: datetime
    """When the first of these jobs ended."""
    last_seen: datetime
    per_hour: tuple[int, ...]
    """How many ended in each of the last 24 hours, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A queue, now and in a window before."""

    service: str
    queue: str
    prefix: str
    waiting: int
    """Pending jobs, those that wait for their time included."""
    oldest: datetime | None
    """Since when the pending job waits that could have begun first; None where none could begin."""
    running: int
    slots: int
    """How many jobs its workers run at most."""
    busy: int = 0
    """How many slots were taken at the newest heartbeats: also by handlers whose jobs were cancelled."""
    workers: int
    """Those that are not silent."""
    late_workers: int
    """Those of them whose newest heartbeat is late: they may be gone."""
    paused_workers: int
    """Those of them that report that the queue is paused."""
    retrying: int
    next_retry: datetime | None
    retries_due: int
    """Retries whose time has come, but which no worker has begun."""
    dead: int
    stale: int
    """Jobs that lost their key when their worker died, and never run, as long as they are stored; not those that were created again."""
    states: Mapping[JobState, int]
    """How many jobs are in each state."""
    created: int
    """In the window; so are the following."""
    completed: int
    ended_badly: int
    """Attempts and jobs are not mixed here: jobs that ended as failed, dead, expired or stale."""
    failed_attempts: int
    """Attempts that failed, whether or not another one follows."""
    died: int
    ended_per_minute: float
    success: float | None
    """The share of completed jobs in those that completed or ended badly, 0 to 1; None where none ended."""
    run_p50: timedelta | None
    run_p95: timedelta | None
    wait_p95: timedelta | None
    """How long jobs waited that could begin."""
    history: Series
    """How many jobs were waiting."""
    ended: Series
    """How many jobs ended."""


BLOCKED_AFTER: Final = timedelta(seconds=30)
"""An event loop that is so late is blocked: the leases of keys end then."""


class AttentionKind(StrEnum):
    """Why something needs an operator. The worst comes first."""

    DEAD = "dead"
    """Many jobs died lately with alike errors."""
    NO_WORKER = "no-worker"
    """Jobs wait in a queue that no process works."""
    SILENT = "silent"
    """A worker stopped sending heartbeats without saying that it stops."""
    BLOCKED = "blocked"
    """The event loop of a worker is blocked: it sends heartbeats, and none of its jobs goes on."""
    PAUSED = "paused"
    """Workers report that a queue is paused."""
    OTHER_VERSION = "other-version"
    """Jobs are due that a version of the contract wrote which no worker of the queue has, and that no free worker begins."""
    OVERDUE = "overdue"
    """Jobs have passed their deadline, and none of them was expired."""
    NO_SLOT = "no-slot"
    """Jobs wait, and every slot is taken by a job that has run for long: none has begun since."""
    STUCK = "stuck"
    """The oldest job has waited much longer than others, while slots are free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One thing that needs an operator."""

    kind: AttentionKind
    service: str
    queue: str | None
    """None where it concerns a process, not a queue."""
    subject: str
    """What it is about: an error type, a fingerprint, a worker or a digest, by its kind."""
    fingerprint: str | None
    number: int
    """How many jobs it concerns."""
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the first page shows."""

    at: int
    as_of: datetime
    """When the event at that sequence was stored."""
    window: timedelta
    waiting: int
    oldest: datetime | None
    running: int
    slots: int
    workers: int
    retrying: int
    next_retry: datetime | None
    dead: int
    error_groups: int
    """How many groups the dead jobs have."""
    completed: int
    """In the window; so are the following."""
    completed_per_minute: float
    """In the last whole minutes of the window, at most five."""
    ended_badly: int
    died: int
    bad_share: float | None
    """The share of jobs that ended badly in those that ended; None where none ended."""
    waiting_history: Series
    running_history: Series
    retrying_history: Series
    dead_history: Series
    completed_series: Series
    failed_attempts_series: Series
    died_series: Series
    ended_badly_series: Series
    queues: tuple[QueueRow, ...]
    attention: tuple[Attention, ...]
    """The worst first. What is in buckets, pauses and blocked keys, the caller adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedQueueRow:
    """What a process says about one of its queues."""

    queue: str
    prefix: str
    concurrency: int
    running: int | None
    """None: the process does not say. Older versions, and other runtimes, do not."""
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A process that works queues of a service."""

    instance_id: str
    service: str
    queues: tuple[WorkedQueueRow, ...]
    heartbeat_at: datetime
    first_at: datetime
    """When its first heartbeat was stored that the stream still has."""
    is_silent: bool
    is_late: bool
    """Whether its newest heartbeat is older than one and a half intervals, and it is not silent yet. What it says is as old."""
    is_stopping: bool
    """Whether it reported that it stops, or has stopped. It is listed for five minutes after its last heartbeat."""
    version: str | None
    """Of its runtime."""
    digest: str | None
    """Of its contract."""
    running: int
    """What the process says; where it is silent or does not say, the jobs whose newest attempt it began."""
    slots: int
    host: str | None
    pid: int | None
    started_at: datetime | None
    loop_lag: timedelta | None
    memory_bytes: int | None
    extension: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Everything else that its newest heartbeat says."""

    @property
    def is_blocked(self) -> bool:
        """Whether its event loop is blocked, or was a moment ago: it sends heartbeats, and none of its jobs goes on."""
        return (
            not (self.is_silent or self.has_stopped)
            and self.loop_lag is not None
            and self.loop_lag >= BLOCKED_AFTER
        )

    @property
    def has_stopped(self) -> bool:
        """Whether it reported a clean stop: its newest heartbeat is its last one."""
        return self.extension.get("stopped") is True


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A concurrency key with jobs that have not ended. The holders of its slots, and until when, are in the bucket of the service."""

    service: str
    queue: str
    prefix: str
    key: str
    key_hash: str
    waiting: int
    """Pending jobs and retries."""
    running: int
    oldest: datetime
    """When the oldest of them was created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionStatus:
    """How far the projection has read."""

    at: int
    """Every event up to this sequence is in it."""
    as_of: datetime | None
    """When that event was stored; None before the first one."""
    last_sequence: int
    """The end of the stream when it was last looked at."""
    looked_at: datetime | None
    """When that was."""
    is_complete: bool
    """False during the first reading of the stream: what it shows is of the past."""
    jobs: int
    malformed: int
    """How many messages were not events, or named another job than their subject."""
