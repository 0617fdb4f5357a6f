"""What a job can end with."""

from __future__ import annotations

from datetime import timedelta

from trellis_nats.errors.root import TrellisError

__all__ = ["JobCancelled", "JobError", "JobExpired", "JobFailed", "JobNotFound", "JobRetry", "JobSkipped"]


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


class JobSkipped(JobError):
    """A newer job of the same key took its place."""


class JobNotFound(JobError):
    """No job with this id is stored; it never was, or its history has been purged."""
