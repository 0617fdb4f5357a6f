"""Recognises work messages that are not jobs. Pure. Any client that may publish can send anything.

A job without a payload, or with a payload of null, is a job: another runtime may create it, and its creator waits for an
end. It fails at its first delivery unless the schema of the queue allows null.
"""

from __future__ import annotations

from trellis_nats.ids import is_token
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType

__all__ = ["malformed_reason"]


def malformed_reason(work: LifecycleEvent | None, queue: str) -> str | None:
    """Return why a message is not a job of the queue; None when it is one."""
    if work is None:
        return "its body is not a lifecycle event"
    if work.event_type not in (EventType.CREATED, EventType.RETRIED):
        return f'its event is "{work.event_type}", not created or retried'
    if work.job_type != queue:
        return f'it is for queue "{work.job_type}"'
    if not is_token(work.job_id):
        return "its job id is not valid in a subject"
    return None
