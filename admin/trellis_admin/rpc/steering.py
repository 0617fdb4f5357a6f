"""Cancels, retries, replays and dismisses jobs for the admin RPCs, with the errors that the wire has (reference, 17.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from trellis_nats import ValidationError
from trellis_nats.errors import ActionRefused, ConfigurationError, JobNotFound
from trellis_nats.jobs.actions.job_actions import ActionDone

from trellis_admin.operator import AmbiguousJob, Operator
from trellis_admin.rpc.job_object import to_job
from trellis_admin.rpc.trellis_jobs_participant import Job, NotFoundError
from trellis_admin.steering import Steering

__all__ = ["CANCEL", "DISMISS", "REPLAY", "RETRY", "JobAction", "not_found", "steer"]

JobAction = Callable[[Steering, str], Awaitable[ActionDone]]
"""What is done to the job with an id."""

_EXPECTED: Final = {
    "cancel": "pending|retry|active",
    "retry": "failed",
    "replay": "dead",
    "dismiss": "dead",
}
"""The states that an action expects, as the reference writes them."""


async def _cancel(steering: Steering, job: str) -> ActionDone:
    return await steering.cancel(job)


async def _retry(steering: Steering, job: str) -> ActionDone:
    return await steering.retry(job)


async def _replay(steering: Steering, job: str) -> ActionDone:
    return await steering.replay(job)


async def _dismiss(steering: Steering, job: str) -> ActionDone:
    return await steering.dismiss(job)


CANCEL: Final[JobAction] = _cancel
RETRY: Final[JobAction] = _retry
REPLAY: Final[JobAction] = _replay
DISMISS: Final[JobAction] = _dismiss


async def steer(operator: Operator, action: JobAction, job_id: str) -> Job:
    """Act on a job, and return it as it is now, without its values.

    Args:
        operator: acts, in the name of the caller.
        action: what is done.
        job_id: the id of the job.

    Raises:
        NotFoundError: there is no such job.
        ValidationError: the job is in a state that does not allow it, its deadline has passed, the contract does not read its
            payload, or the id is not one.
        TransportError: the server did not answer.
    """
    try:
        done = await action(operator, job_id)
    except JobNotFound:
        raise not_found(job_id) from None
    except (AmbiguousJob, ConfigurationError) as error:
        raise ValidationError(str(error), [("/id", str(error))]) from None
    except ActionRefused as refused:
        raise await _explain(operator, refused) from None
    job = to_job(done.events)
    if job is None:
        raise not_found(job_id)
    return job


def not_found(job_id: str) -> NotFoundError:
    """Return the error for a job that does not exist."""
    return NotFoundError(f"Job '{job_id}' not found", resource="Job", job_id=job_id)


async def _explain(operator: Operator, refused: ActionRefused) -> ValidationError:
    if refused.why != "state":
        return ValidationError(str(refused), [("/id", str(refused))])
    place = await operator.session.find(refused.job_id)
    name = f"{place.service}/{place.queue}/{refused.job_id}"
    text = f"Job '{name}' is in state '{refused.state}', expected {_EXPECTED[refused.action]}"
    return ValidationError(text, [("/state", text)])
