"""Gives tests access to the internals of a queue."""

from __future__ import annotations

from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue import JobQueue, setup_of
from trellis_nats.jobs.work.queue_context import QueueContext

__all__ = ["inspect_queue"]


def inspect_queue(queue: JobQueue[PayloadT, ResultT, UpdateT]) -> QueueContext[PayloadT, ResultT, UpdateT]:
    """Return the context of a queue: its event log, its subjects, its binding and its keys.

    These are internals: they may change in any release.

    Raises:
        ConfigurationError: the service is not connected, or its binding does not have the queue.
    """
    return setup_of(queue).context
