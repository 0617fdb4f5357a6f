"""Counts what the worker of one queue does, and measures how long jobs wait and run."""

from __future__ import annotations

from time import monotonic, time

from trellis_nats.jobs.model.event import LifecycleEvent, instant
from trellis_nats.jobs.model.states import EventType
from trellis_nats.metrics.families import (
    JOB_ATTEMPTS,
    JOB_RUN,
    JOB_WAIT,
    JOBS_DEAD,
    JOBS_FETCHED,
    JOBS_RUNNING,
    KEY_WAIT,
    QUEUE_CONSUMING,
    QUEUE_PAUSED,
)
from trellis_nats.metrics.registry import MetricsRegistry, Number

__all__ = ["AttemptCounts", "WorkerCounts"]


class WorkerCounts:
    """What the worker of one queue counts before a job begins."""

    def __init__(self, queue: str, metrics: MetricsRegistry) -> None:
        self.fetched = metrics.number(JOBS_FETCHED, queue)
        """Deliveries that the worker has taken."""
        self.consuming = metrics.number(QUEUE_CONSUMING, queue)
        """1 while it pulls, else 0."""
        self.paused = metrics.number(QUEUE_PAUSED, queue)
        """1 while the queue is paused, else 0."""


class AttemptCounts:
    """The counters of one queue. Counting takes less than a microsecond for each job: hardly anything is parsed or looked up."""

    def __init__(self, queue: str, metrics: MetricsRegistry) -> None:
        self._queue = queue
        self._metrics = metrics
        self.running = metrics.number(JOBS_RUNNING, queue)
        """How many attempts run now."""
        self._key_wait = metrics.histogram(KEY_WAIT, queue)
        self._outcomes: dict[str, Number] = {}
        self._run = metrics.histogram(JOB_RUN, queue)
        self._wait = metrics.histogram(JOB_WAIT, queue)
        self._dead = metrics.number(JOBS_DEAD, queue)

    def begin(self, event: LifecycleEvent, stored_nanoseconds: int, tries: int) -> float:
        """Measure how long a job has waited for its first attempt. Return the monotonic time at which an attempt begins.

        Args:
            event: the event with its payload; a job that has a time before which it may not begin waits from then on.
            stored_nanoseconds: when the server stored its work message, since 1970.
            tries: which attempt begins, counted from 1.
        """
        if tries == 1:
            due = None if event.not_before is None else instant(event.not_before)
            self._wait.observe(time() - (stored_nanoseconds / 1e9 if due is None else due.timestamp()))
        return monotonic()

    def end_key_wait(self, asked_at: float) -> None:
        """Measure how long a job has waited for its key, since a monotonic time."""
        self._key_wait.observe(monotonic() - asked_at)

    def settle(self, outcome: str, began_at: float) -> None:
        """Count an attempt whose outcome is stored."""
        self._run.observe(monotonic() - began_at)
        number = self._outcomes.get(outcome)
        if number is None:
            number = self._outcomes[outcome] = self._metrics.number(JOB_ATTEMPTS, self._queue, outcome)
        number.value += 1
        if outcome == "dead":
            self._dead.value += 1

    def end(self, event: EventType) -> None:
        """Count the end of a job on which no handler works."""
        if event is EventType.DEAD:
            self._dead.add()
