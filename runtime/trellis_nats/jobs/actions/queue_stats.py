"""Counts the jobs of one queue by what the server reports, without reading them."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.streams import count_subjects, get_consumer_info, get_next_message
from trellis_nats.binding import QueueBinding
from trellis_nats.clock import now
from trellis_nats.errors import PermissionDenied, ProvisioningError
from trellis_nats.jobs.actions.dead_listing import list_dead
from trellis_nats.jobs.model.subjects import DELAYED_STREAM, JobSubjects

__all__ = ["QueueStats", "read_stats"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueStats:
    """How many jobs a queue has, by where they are.

    Each job that has not ended is in one of `waiting`, `delivered` and `parked`. The numbers are read one after the other,
    so a job that moves meanwhile may be counted twice or not at all. A new job counts from when the server has copied it
    to the work stream, usually some milliseconds later.
    """

    waiting: int
    """Jobs that no worker has received: the messages that the queue's consumers have not delivered yet (`num_pending` of
    consumer info, for the work stream and for parked jobs that are due)."""
    oldest_waiting: timedelta | None
    """How long the oldest of them has waited in the work stream; None where none waits, or where the account may not read
    that stream (role `operator`)."""
    delivered: int
    """Jobs that a worker has received and that have not ended (`num_ack_pending`): they run, wait for a slot of their
    concurrency key, or wait for up to a minute for their next attempt."""
    parked: int | None
    """Jobs that wait for longer, for their delay or their next attempt: the messages of stream JOBS_DELAYED. 0 on servers
    that do not park jobs, where `delivered` has them; None where the account may not count them (role `operator`)."""
    dead: int | None
    """Jobs whose attempts are used up and that were neither replayed nor dismissed: by the events of stream JOBS. None where
    the account may not list them (role `operator`)."""


async def read_stats(connection: Connection, queue: QueueBinding, work_stream: str) -> QueueStats:
    """Count the jobs of a queue.

    Raises:
        ProvisioningError: the queue has no consumer.
        PermissionDenied: the account may not read the report of the queue's consumer.
        TransportError: NATS did not answer.
    """
    subjects = JobSubjects(queue.publish_prefix)
    work = await get_consumer_info(connection, work_stream, queue.consumer_name)
    if work is None:
        raise ProvisioningError(
            f'queue "{queue.queue_type}": stream {work_stream} has no consumer {queue.consumer_name}: provision the service'
        )
    due = await _if_allowed(get_consumer_info(connection, DELAYED_STREAM, queue.consumer_name))
    dead = await _if_allowed(list_dead(connection, subjects))
    return QueueStats(
        waiting=work.pending + (0 if due is None else due.pending),
        oldest_waiting=await _if_allowed(_oldest_waiting(connection, work, work_stream, queue.work_subject)),
        delivered=work.ack_pending + (0 if due is None else due.ack_pending),
        parked=await _if_allowed(count_subjects(connection, DELAYED_STREAM, subjects.parked("*"))),
        dead=None if dead is None else len(dead),
    )


async def _oldest_waiting(
    connection: Connection, work: ConsumerInfo, stream: str, subject: str
) -> timedelta | None:
    """Return the age of the first message that the consumer has not delivered."""
    if not work.pending:
        return None
    start = (work.delivered_sequence or 0) + 1
    found = await get_next_message(connection, stream, subject, start)
    return None if found is None else max((work.server_time or now()) - found.time, timedelta(0))


async def _if_allowed(reading: Awaitable[T]) -> T | None:
    """Return what an optional read returns; None where the account may not do it."""
    try:
        return await reading
    except PermissionDenied:
        return None
