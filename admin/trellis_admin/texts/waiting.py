"""Says why a job that is due is not begun."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from trellis_nats.errors import PermissionDenied
from trellis_nats.jobs.model.states import JobState

from trellis_admin.audit_log import CannotRead
from trellis_admin.keys import KeyProblem
from trellis_admin.operator import Operator
from trellis_admin.queries import JobRow, list_queues, read_pauses
from trellis_admin.terminal.tables import clean
from trellis_admin.terminal.times import show_age
from trellis_admin.texts.fleet import describe_pauses

__all__ = ["Wait", "explain_wait"]

_WINDOW: Final = timedelta(minutes=1)
_WAITS: Final = frozenset({JobState.PENDING, JobState.RETRY})


class Wait(NamedTuple):
    """Why no worker begins a job that is due."""

    why: str
    next: str
    """What to do, in a shell."""


async def explain_wait(operator: Operator, job: JobRow, at: datetime) -> Wait | None:
    """Return why no worker begins a job; None where it is not due, or nothing is known that holds it back.

    Raises:
        TransportError: the server did not answer.
    """
    if job.state not in _WAITS or (job.next_at is not None and job.next_at > at):
        return None
    name = f"{job.service}/{job.queue}"
    pause = (await read_pauses(operator.session.connection, [job.prefix])).get(job.prefix)
    if pause is not None:
        (said,) = describe_pauses({name: pause}, at)
        return Wait(said, f"trellis queues resume {name}")
    queues = await operator.ask(list_queues, _WINDOW, at)
    queue = next((queue for queue in queues if queue.prefix == job.prefix), None)
    if queue is not None and not queue.workers:
        return Wait(
            "no worker of its queue is alive", "start one; trellis workers lists those of the last day"
        )
    if job.key_hash is not None and (key := await _explain_key(operator, job, name, at)) is not None:
        return key
    if queue is None or max(queue.running, queue.busy) < queue.slots:
        return None
    taken = "every slot of its queue is taken"
    if queue.busy > queue.running:
        return Wait(
            f"{taken}, also by a handler whose job has ended: it goes on until it looks at job.is_cancelled",
            "trellis workers",
        )
    return Wait(taken, f"trellis jobs list queue:{name} state:active")


async def _explain_key(operator: Operator, job: JobRow, name: str, at: datetime) -> Wait | None:
    """Return which jobs hold the key of a job, if all its slots are taken."""
    try:
        key = await operator.keys.show(job.prefix, job.key_hash or "")
    except (KeyProblem, CannotRead, PermissionDenied):
        return None
    if len(key.holders) < key.max_active:
        return None
    holders = [
        f"job {holder.job_id} has held it since {show_age(holder.since, at)}"
        + (f", and its lease ran out {show_age(holder.expires_at, at)}" if holder.is_expired else "")
        for holder in key.holders
    ]
    why = f"its key {clean(key.key)} is taken: {'; '.join(holders)}"
    return Wait(why, f"trellis keys show {name} {key.key_hash[:12]}")
