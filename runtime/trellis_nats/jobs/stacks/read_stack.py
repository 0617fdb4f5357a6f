"""Asks the process that runs a job what its handler does."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.request import request
from trellis_nats.errors import NoResponders, RequestTimeout
from trellis_nats.ids import require_token
from trellis_nats.jobs.model.subjects import stack_subject
from trellis_nats.jobs.stacks.job_stack import JobStack

__all__ = ["read_stack"]

_WITHIN: Final = timedelta(seconds=3)


async def read_stack(
    connection: Connection, namespace: str, queue: str, job_id: str, *, timeout: timedelta = _WITHIN
) -> JobStack | None:
    """Return what the handler of a running job does now: files, lines and functions, no values.

    The process answers from its heartbeat thread, also while the handler blocks the event loop.

    Args:
        connection: an account with the role `operator` of the service.
        namespace: the service's, as in the subjects of its jobs.
        queue: the queue's name.
        job_id: the job.
        timeout: how long an answer may take. A process that does not run the job does not answer.

    Returns:
        The stack. None: no process answered that it runs the job. It does not run; or its process is frozen, of another
        runtime or release, or may not answer.

    Raises:
        ConfigurationError: a name is not valid.
        PermissionDenied: the account may not ask.
        NotConnected: there was no connection within `timeout`.
    """
    subject = stack_subject(require_token("namespace", namespace), require_token("queue", queue))
    try:
        reply = await request(connection, subject, require_token("job id", job_id).encode(), timeout=timeout)
    except (NoResponders, RequestTimeout):
        return None
    return JobStack.parse(reply.data)
