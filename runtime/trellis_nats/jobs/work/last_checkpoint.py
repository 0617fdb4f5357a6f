"""Finds what the earlier attempts of a job stored for the one that begins."""

from __future__ import annotations

import asyncio
import logging

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.codec import encode_json
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import REPLICA_PAUSES, EventLog
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.work_item import WorkItem

__all__ = ["restore_checkpoint"]

_log = logging.getLogger(__name__)


async def restore_checkpoint(attempt: Attempt, item: WorkItem, event_log: EventLog) -> None:
    """Give an attempt the newest checkpoint of its job, before it begins. A first attempt reads nothing.

    The job's newest event is known, and the write of `started` proves that it still is the newest. If a runtime like this
    one wrote it, it says which checkpoint must be there.

    Raises:
        MalformedJobEvent: the stored checkpoint cannot be read.
        TransportError: NATS did not answer.
    """
    newest = item.newest
    if newest is None or newest.event.event_type == EventType.CREATED:
        return
    found = newest if newest.event.has_checkpoint else await _find(item, newest, event_log)
    # A second `created` begins the job again.
    is_of_this_life = item.event.event_type != EventType.CREATED or (
        found is not None and found.sequence > item.sequence
    )
    if found is not None and is_of_this_life and found.event.job_id == item.job_id:
        attempt.checkpoint = encode_json(found.event.checkpoint)
        attempt.checkpoint_at = found.sequence


async def _find(item: WorkItem, newest: StoredEvent, event_log: EventLog) -> StoredEvent | None:
    found, expected = None, newest.event.checkpoint_at or 0
    for pause in REPLICA_PAUSES:
        await asyncio.sleep(pause)
        found = await event_log.newest_of(item.job_id, EventType.CHECKPOINT)
        if (0 if found is None else found.sequence) >= expected:
            return found
    _log.warning(
        "job %s of queue %s: its checkpoint, message %d of the stream, is not in the stream; the attempt goes on with an "
        "older one, or none",
        item.job_id,
        item.queue,
        expected,
        extra=log_fields(LogEvent.CHECKPOINT_NOT_FOUND, queue=item.queue, job_id=item.job_id),
    )
    return found
