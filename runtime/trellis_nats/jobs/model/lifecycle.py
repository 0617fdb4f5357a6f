"""The life of a job as a pure function: a job and an event make a job (reference, section 8).

Replaying a history gives the same job for every reader. An event that is not legal in the job's state changes nothing
and is not an error: on servers that do not fence, readers of every runtime agree by ignoring the same events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pydantic import JsonValue

from trellis_nats.jobs.model.event import JobLogEntry, JobProgress, LifecycleEvent
from trellis_nats.jobs.model.states import TERMINAL_STATES, EventType, JobState

__all__ = ["JobLife", "apply"]

_UNDER_WAY: Final = frozenset({JobState.PENDING, JobState.ACTIVE, JobState.RETRY})
_WAITING: Final = frozenset({JobState.PENDING, JobState.RETRY})
_ACTIVE: Final = frozenset({JobState.ACTIVE})

_LEGAL_IN: Final[dict[str, frozenset[JobState]]] = {
    EventType.STARTED: _UNDER_WAY,
    EventType.RETRY: _ACTIVE,
    EventType.PROGRESS: _ACTIVE,
    EventType.LOGGED: _ACTIVE,
    EventType.COMPLETED: _ACTIVE,
    EventType.FAILED: _ACTIVE,
    EventType.STALE: _ACTIVE,
    EventType.HEARTBEAT: _ACTIVE,
    EventType.STALE_COMPLETION_IGNORED: _ACTIVE,
    EventType.WAITING: _ACTIVE,
    EventType.RESUMED: _ACTIVE,
    EventType.CANCELLED: _UNDER_WAY,
    EventType.EXPIRED: _UNDER_WAY,
    EventType.SKIPPED: _WAITING,
    EventType.RETRIED: frozenset({JobState.FAILED, JobState.DEAD}),
    EventType.DEAD: frozenset({JobState.ACTIVE, JobState.RETRY, JobState.FAILED, JobState.EXPIRED}),
    EventType.DISMISSED: frozenset({JobState.DEAD}),
}
"""The states in which an event is legal. `started` is also legal while active: its worker before has died, and the
other runtimes' reducers ignore it there without harm (reference, 8.4)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLife:
    """A job after some of its events."""

    id: str
    queue: str
    state: JobState
    payload: JsonValue
    tries: int
    max_tries: int
    created_at: str
    updated_at: str
    deadline: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    result: JsonValue = None
    last_error: str | None = None
    progress: JobProgress | None = None
    logs: tuple[JobLogEntry, ...] = ()


def apply(job: JobLife | None, event: LifecycleEvent) -> JobLife | None:
    """Return the job after an event; the same job when the event is not legal for it."""
    if job is None:
        return _created(event) if event.event_type == EventType.CREATED and event.has_payload else None
    if event.job_id != job.id or job.state not in _LEGAL_IN.get(event.event_type, frozenset()):
        return job
    if event.previous_state is not None and event.previous_state != job.state:
        return job
    if event.event_type == EventType.RETRIED:
        return _retried(job, event)
    return _effect(_common(job, event), event)


def _created(event: LifecycleEvent) -> JobLife:
    return JobLife(
        id=event.job_id,
        queue=event.job_type,
        state=event.state,
        payload=event.payload,
        tries=event.tries,
        max_tries=event.max_tries or 1,
        created_at=event.timestamp,
        updated_at=event.timestamp,
        deadline=event.deadline,
    )


def _common(job: JobLife, event: LifecycleEvent) -> JobLife:
    return replace(
        job,
        state=event.effective_state,
        tries=event.tries,
        max_tries=event.max_tries or job.max_tries,
        updated_at=event.timestamp,
    )


def _effect(job: JobLife, event: LifecycleEvent) -> JobLife:
    if job.state in TERMINAL_STATES:
        completed = event.event_type == EventType.COMPLETED
        return replace(
            job,
            completed_at=event.timestamp,
            result=event.result if completed else job.result,
            last_error=job.last_error if completed else event.error,
        )
    match event.event_type:
        case EventType.STARTED:
            return replace(job, started_at=event.timestamp)
        case EventType.PROGRESS:
            return replace(job, progress=event.progress)
        case EventType.LOGGED:
            return replace(job, logs=(*job.logs, *(event.logs or ())))
        case EventType.RETRY | EventType.STALE_COMPLETION_IGNORED:
            return replace(job, last_error=event.error)
        case _:
            return job


def _retried(job: JobLife, event: LifecycleEvent) -> JobLife:
    return JobLife(
        id=job.id,
        queue=job.queue,
        state=JobState.PENDING,
        payload=event.payload if event.has_payload else job.payload,
        tries=0,
        max_tries=event.max_tries or job.max_tries,
        created_at=job.created_at,
        updated_at=event.timestamp,
        deadline=event.deadline or job.deadline,
    )
