"""The ends of a job as exceptions: raised by handlers to steer, and by `result()` to report."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from trellis_nats.errors.base import TrellisError
from trellis_nats.errors.configuration import require_timedelta

__all__ = [
    "ActionRefused",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobNotEnqueued",
    "JobNotFound",
    "JobRetry",
    "JobSkipped",
    "JobStale",
    "Refusal",
    "RefusedAction",
]

_AFTER_LONGEST: Final = timedelta(days=30)
"""Stream JOBS drops an event after 90 days. The history of a job that has begun cannot be stored again."""

Refusal = Literal["active-limit", "queue-depth", "stale-blocked"]
"""Why a concurrency key rejects a job: all slots are taken; the waiting jobs are at their limit; or a slot whose lease
expired is blocked until its owner or an operator releases it."""


RefusedAction = Literal["state", "changed", "deadline", "payload", "key"]
"""Why an action on a job was refused: the job is in a state that does not allow it; it has changed since the caller saw it;
its deadline has passed; its payload is not stored any longer, or the contract of the caller refuses it; or its queue has a concurrency key, and the action needs the
contract."""


class JobError(TrellisError):
    """The root of the job errors.

    Remedy: Catch a subclass.
    """


class ActionRefused(JobError):
    """An action on a job was not done, because of what the job has become. Nothing was stored.

    The text says what happened to the job, and when: "it had completed 0.2 s earlier".

    Remedy: Look at the job as it is now (`state`, `event`), and decide again.
    """

    def __init__(
        self,
        message: str,
        *,
        job_id: str,
        action: str,
        why: RefusedAction,
        state: str,
        event: str,
        sequence: int,
        at: datetime,
    ) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.action = action
        """What was asked for: `cancel`, `retry`, `replay` or `dismiss`."""
        self.why: RefusedAction = why
        self.state = state
        """The state of the job now."""
        self.event = event
        """The event that made this state."""
        self.sequence = sequence
        """The sequence of that event in stream JOBS."""
        self.at = at
        """When it was stored, by the server's clock."""


class JobFailed(JobError):
    """The job failed: the handler gave up, or the last attempt failed.

    A handler that raises it ends the job as `failed` without another attempt.

    Remedy: Correct what the text names, then `ref.retry(…)`. In a handler, raise it only where another
    attempt cannot help.
    """


class JobRetry(JobError):
    """Raised by a handler: run the job again after `after`, or after the queue's backoff.

    Remedy: Raise it in a handler, with `after=` where a certain time must pass; it is never raised by
    the runtime.

    Raises:
        ValueError: `after` is negative, or longer than 30 days.
    """

    after: timedelta | None = None
    """The wait; None: that of the queue's backoff. A subclass need not call this constructor."""

    def __init__(self, message: str = "try again", *, after: timedelta | None = None) -> None:
        require_timedelta("JobRetry(after=…)", after)
        if after is not None and after < timedelta(0):
            raise ValueError(f"after must not be negative, got {after.total_seconds():g} s")
        if after is not None and after > _AFTER_LONGEST:
            raise ValueError(
                f"after must be at most {_AFTER_LONGEST.days} days, got {after}: the history of a job that waits longer "
                "may be dropped; end this job, and create one with a delay"
            )
        super().__init__(message)
        self.after = after


class JobCancelled(JobError):
    """The job was cancelled. A handler that sees `job.is_cancelled` raises it, or simply returns.

    Remedy: Nothing: the job was cancelled on purpose. Create a new job if its work is needed.
    """


class JobExpired(JobError):
    """The job's deadline passed before it ended.

    Remedy: Create the job again, with a later `deadline`, or raise `defaultDeadlineMs`. Look at whether
    workers keep up.
    """


class JobNotEnqueued(JobError):
    """The job's concurrency key is full. Nothing was stored; `queue.submit` returns a value instead.

    Remedy: Wait for a job of the key to end, use `submit`, which returns the outcome, or raise
    `maxActive` or `maxQueuedPerKey`.
    """

    def __init__(
        self,
        reason: Refusal,
        key: str,
        *,
        active: int,
        queued: int,
        limit: int,
        existing_job_id: str | None,
        room: str = "",
    ) -> None:
        super().__init__(
            f'key "{key}" is full: {active} active, {queued} waiting, {room or f"limit {limit}"}. '
            + (
                "A job whose lease expired holds the slot until it runs again or an operator calls its `release_key()`"
                if reason == "stale-blocked"
                else "Create the job again after one of them has ended, or use `submit`, which applies the queue's `whenFull`. "
                "More may wait if the contract raises `queue.maxQueuedPerKey`"
            )
        )
        self.reason = reason
        self.key = key
        """The concurrency key in its readable form."""
        self.active = active
        self.queued = queued
        self.limit = limit
        """The limit of waiting jobs if the reason is `queue-depth`, else of active jobs."""
        self.existing_job_id = existing_job_id
        """The id of the waiting job that runs next, else of the oldest active job."""


class JobSkipped(JobError):
    """A newer job of the same concurrency key replaced the job.

    Remedy: Nothing: the newer job does the work. Use another `whenFull` if each job must run.
    """


class JobStale(JobError):
    """The job's lease on its concurrency key expired while it was active, and a waiting job took its slot.

    Remedy: If its work is still wanted, `await ref.recreate()` creates a new job with its payload. Where each
    job must run, declare `"stalePolicy": "block"`. Look at why the worker was silent.
    """


class JobNotFound(JobError):
    """No job with this id is stored: it never existed, or its events were purged.

    Remedy: Check the id and the queue. Histories are kept for 90 days, unless they are purged earlier.
    """
