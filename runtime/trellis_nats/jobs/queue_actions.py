"""The actions on the jobs of a queue, for a process that has its contract."""

from __future__ import annotations

from typing import Final

from trellis_nats.jobs.actions.job_actions import JobActions
from trellis_nats.jobs.actions.replacement import Replacements
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.work.queue_context import QueueContext

__all__ = ["actions_of", "from_service", "replacements_of"]

_SOURCE: Final = "Python API"


def from_service(*, actor: str | None, reason: str | None) -> AdminAction:
    """Return who acts through a service, and why.

    Raises:
        ConfigurationError: one of them is not a text.
    """
    return AdminAction(actor=actor, reason=reason, source=_SOURCE)


def actions_of(context: QueueContext[PayloadT, ResultT, UpdateT]) -> JobActions:
    """Return the actions on the jobs of a queue."""

    async def leave_key(cancelled: StoredEvent) -> None:
        if context.keys is not None:
            await context.keys.withdraw(cancelled.event.job_id)

    return JobActions(context.event_log, context.reader, leave_key, clock=context.clock)


def replacements_of(context: QueueContext[PayloadT, ResultT, UpdateT]) -> Replacements:
    """Return the replacements of a queue's jobs; a new job is admitted to its key."""
    return Replacements(
        context.event_log,
        context.reader,
        actions_of(context),
        clock=context.clock,
        creator=None if context.keys is None else context.keys.creator,
    )
