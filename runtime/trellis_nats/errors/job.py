"""What a job can end with."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from trellis_nats.errors.base import TrellisError

__all__ = [
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
]

Refusal = Literal["active-limit", "queue-depth", "stale-blocked"]
"""Why a key takes no job: all slots are taken; as many wait as may; or a slot whose lease ran out is held until its
owner or an operator gives it back."""


class JobError(TrellisError):
    """The root of what a job can end with."""


class JobFailed(JobError):
    """The handler gave up, or every try was used.

    Raised by a handler, it ends the job as `failed` without another try.
    """


class JobRetry(JobError):
    """Raised by a handler: try again after `after`, or after the queue's backoff."""

    def __init__(self, message: str = "try again", *, after: timedelta | None = None) -> None:
        if after is not None and after < timedelta(0):
            raise ValueError(f"after must not be negative, got {after}")
        super().__init__(message)
        self.after = after


class JobCancelled(JobError):
    """The job was cancelled. A handler that saw `job.is_cancelled` raises it, or just returns."""


class JobExpired(JobError):
    """The job's deadline passed before it ended."""


class JobNotEnqueued(JobError):
    """The job's concurrency key is full. Nothing was stored; `queue.submit` answers with a value instead."""

    def __init__(
        self,
        reason: Refusal,
        key: str,
        *,
        active: int,
        queued: int,
        limit: int,
        existing_job_id: str | None,
    ) -> None:
        super().__init__(
            f'key "{key}" takes no job now ({reason}): {active} active, {queued} waiting, limit {limit}. '
            + (
                "A job whose lease ran out holds it until it runs again, or an operator calls its `release_key()`"
                if reason == "stale-blocked"
                else "Create it again when one of them has ended, or let `submit` answer by the queue's `whenFull`"
            )
        )
        self.reason = reason
        self.key = key
        """The display key."""
        self.active = active
        self.queued = queued
        self.limit = limit
        """Of waiting jobs when the reason is `queue-depth`, else of active ones."""
        self.existing_job_id = existing_job_id
        """The job that waits next, else the oldest active one."""


class JobSkipped(JobError):
    """A newer job of the same key took its place."""


class JobStale(JobError):
    """The lease of the job's concurrency key ran out while it was active, and it lost its slot to who waited."""


class JobNotFound(JobError):
    """No job with this id is stored; it never was, or its history has been purged."""
