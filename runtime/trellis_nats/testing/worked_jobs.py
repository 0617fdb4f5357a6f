"""What a test asserts about jobs: those that were created, and how they went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic

from trellis_nats._support.plural import plural
from trellis_nats.jobs.model.event import JobProgress, LifecycleEvent, instant
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue import JobQueue, setup_of
from trellis_nats.jobs.store.event_stream import JobEvent, job_event

__all__ = ["CreatedJob", "DrainReport", "WorkedJob", "created_jobs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CreatedJob(Generic[PayloadT]):
    """A job as it was created."""

    id: str
    payload: PayloadT
    not_before: datetime | None
    """When it may begin: for a job with a `delay`."""
    deadline: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkedJob(Generic[PayloadT, ResultT]):
    """A job of one queue, as it stands at the end of a drain."""

    id: str
    payload: PayloadT
    state: JobState
    result: ResultT | None
    """The result of a completed job, in a queue that declares one."""
    attempts: int
    """How many attempts were made."""
    errors: tuple[str, ...]
    """What failed, oldest first: each attempt that is retried, and the end of a job that is not completed."""
    waits: tuple[timedelta, ...]
    """How long the job waited before each further attempt, by the test's clock."""
    events: tuple[JobEvent, ...] = field(repr=False)
    """Its history."""

    @property
    def progress(self) -> tuple[JobProgress, ...]:
        """What its handlers reported, oldest first."""
        return tuple(event.progress for event in self.events if event.progress is not None)


class DrainReport:
    """What happened since the last drain, or since the service was created."""

    def __init__(
        self, histories: Iterable[list[LifecycleEvent]], writers: Mapping[str, str], moved: timedelta
    ) -> None:
        self._histories = list(histories)
        self._writers = writers
        self.moved = moved
        """How far the clock was moved."""

    def __repr__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in self.states.items()) or "no jobs"
        return f"<DrainReport {states}; the clock moved by {self.moved}>"

    @property
    def states(self) -> dict[JobState, int]:
        """How many jobs are in which state: `{"completed": 3}`. `pending` and `retry` are those that still wait."""
        return dict(Counter(history[-1].effective_state for history in self._histories))

    def of(self, queue: JobQueue[PayloadT, ResultT, UpdateT]) -> list[WorkedJob[PayloadT, ResultT]]:
        """Return the jobs of a queue in the order of their creation.

        Raises:
            InvalidPayload: a stored payload or result does not match its schema.
        """
        return [
            _worked_job(queue, history, self._writers)
            for history in self._histories
            if history[0].job_type == queue.spec.name
        ]

    def one(self, queue: JobQueue[PayloadT, ResultT, UpdateT]) -> WorkedJob[PayloadT, ResultT]:
        """Return the only job of a queue.

        Raises:
            AssertionError: there is none, or more than one.
        """
        jobs = self.of(queue)
        if len(jobs) != 1:
            raise AssertionError(
                f'queue "{queue.spec.name}" had {plural(len(jobs), "job")}, not one: {self!r}'
            )
        return jobs[0]


def created_jobs(
    queue: JobQueue[PayloadT, ResultT, UpdateT], events: Iterable[LifecycleEvent], writers: Mapping[str, str]
) -> list[CreatedJob[PayloadT]]:
    """Return the jobs of a queue that were created, oldest first. `writers` are the digests of their contracts."""
    return [
        CreatedJob(
            id=event.job_id,
            payload=queue.read_payload(event.payload, digest=writers[event.job_id]),
            not_before=instant(event.not_before),
            deadline=instant(event.deadline),
        )
        for event in events
        if event.event_type == EventType.CREATED and event.job_type == queue.spec.name
    ]


def _worked_job(
    queue: JobQueue[PayloadT, ResultT, UpdateT], history: list[LifecycleEvent], writers: Mapping[str, str]
) -> WorkedJob[PayloadT, ResultT]:
    context, newest = setup_of(queue).context, history[-1]
    is_completed = newest.effective_state is JobState.COMPLETED
    return WorkedJob(
        id=newest.job_id,
        payload=queue.read_payload(history[0].payload, digest=writers[newest.job_id]),
        state=newest.effective_state,
        result=context.result.from_json(newest.result)
        if is_completed and context.result is not None
        else None,
        attempts=newest.tries,
        errors=tuple(event.error for event in history if event.error is not None),
        waits=tuple(event.wait for event in history if event.event_type == EventType.RETRY),
        events=tuple(map(job_event, history)),
    )
