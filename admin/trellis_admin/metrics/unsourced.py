"""Looks for accepted jobs that have no work message: what neither the lag of a source nor its activity shows.

A sourced stream once stood still for 22 hours, with a lag of 0 (nats-facts.md, section 9). So the oldest pending job of each queue
is looked up in the work stream, and the oldest one after the newest work message. A work stream has its messages in the order of
the stream that it sources, so each look-up is a binary search.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import (
    StoredMessage,
    get_last_message,
    get_next_message_from_leader,
    get_stream_info,
)
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats.errors import NoResponders
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.subjects import DELAYED_STREAM, STREAM, WORK_STREAM, JobSubjects

from trellis_admin.metrics.exposition import Measurement
from trellis_admin.metrics.families import UNSOURCED
from trellis_admin.metrics.server import QueuePlace
from trellis_admin.queries import JobFilter, Selection, Term, Word, find_jobs, select_targets

__all__ = ["WaitingJob", "find_waiting", "measure_unsourced"]

_SOURCE: Final = "Nats-Stream-Source"
_YOUNG: Final = timedelta(seconds=30)
"""How long the server may take to source a job: an election takes seconds."""
_LOOKED_AT: Final = 20
"""How many jobs are looked through for one that is not delayed."""
_BEYOND: Final = 2**62


class WaitingJob(NamedTuple):
    """A pending job that is not delayed."""

    id: str
    sequence: int
    """That of the event from which it is worked."""
    since: datetime


FindWaiting = Callable[[QueuePlace, int], WaitingJob | None]
"""Returns the first pending job of a queue after a sequence."""


def find_waiting(db: sqlite3.Connection, queue: QueuePlace, after: int) -> WaitingJob | None:
    """Return the first pending job of a queue after a sequence that is not delayed, of the first 20."""
    terms = (
        Term(Word.SERVICE, (queue.service,)),
        Term(Word.QUEUE, (queue.queue,)),
        Term(Word.STATE, (JobState.PENDING.value,)),
    )
    selection = Selection(JobFilter(terms), _BEYOND)
    for target in select_targets(db, selection, after=after, limit=_LOOKED_AT):
        if target.prefix != queue.prefix:
            continue
        row = next(iter(find_jobs(db, f"{target.prefix}.{target.id}", limit=1)), None)
        if row is not None and row.id == target.id and row.next_at is None and row.state is JobState.PENDING:
            return WaitingJob(row.id, row.state_sequence, row.state_at)
    return None


async def measure_unsourced(
    connection: Connection, queues: Sequence[QueuePlace], find: FindWaiting, *, now: datetime
) -> list[Measurement]:
    """Return for each queue how long its oldest job without a work message has waited.

    Raises:
        PermissionDenied: the account may not read the streams.
        TransportError: the server did not answer.
    """

    async def measure(queue: QueuePlace) -> Measurement:
        found = await _find_unsourced(connection, queue, find, now)
        age = 0.0 if found is None else max((now - found.since).total_seconds(), 0.0)
        return Measurement(UNSOURCED, (queue.service, queue.queue), age)

    return await bounded_gather(queues, measure)


async def _find_unsourced(
    connection: Connection, queue: QueuePlace, find: FindWaiting, now: datetime
) -> WaitingJob | None:
    oldest = find(queue, 0)
    if oldest is None or now - oldest.since < _YOUNG:
        return None
    if await _is_missing(connection, queue, oldest):
        return oldest
    try:
        newest = await get_last_message(connection, WORK_STREAM, queue.work_subject)
    except NoResponders:  # there is no work stream, or it cannot be read directly
        return None
    sourced = 0 if newest is None else _source_sequence(newest)
    next_job = None if sourced is None else find(queue, sourced)
    if next_job is None or now - next_job.since < _YOUNG:
        return None
    return next_job if await _is_missing(connection, queue, next_job) else None


async def _is_missing(connection: Connection, queue: QueuePlace, job: WaitingJob) -> bool:
    """Return whether a job still waits and has no message: neither to be worked, nor parked, nor due after it was parked."""
    if await _has_work(connection, queue.work_subject, job.sequence):
        return False
    subjects = JobSubjects(queue.prefix)
    try:
        for subject in (subjects.parked(job.id), subjects.due):
            if await get_last_message(connection, DELAYED_STREAM, subject) is not None:
                return False
    except NoResponders:
        pass  # this server parks nothing
    event = await get_last_message(connection, STREAM, subjects.job(job.id))
    kind = "" if event is None else event.subject.rpartition(".")[2]
    return kind in (EventType.CREATED, EventType.RETRIED)


async def _has_work(connection: Connection, subject: str, sequence: int) -> bool:
    """Return whether the work stream has the message of an event. True also where that cannot be known."""
    info = await get_stream_info(connection, WORK_STREAM)
    match info:
        case {"state": {"first_seq": int(low), "last_seq": int(high)}}:
            pass
        case _:
            return False
    while low <= high:
        middle = (low + high) // 2
        found = await get_next_message_from_leader(connection, WORK_STREAM, subject, middle)
        if found is None or found.sequence > high:
            high = middle - 1
            continue
        source = _source_sequence(found)
        if source is None or source == sequence:
            return True
        if source < sequence:
            low = found.sequence + 1
        else:
            high = middle - 1
    return False


def _source_sequence(message: StoredMessage) -> int | None:
    """Return the sequence of the event from which a work message was made; None for one that was enqueued again."""
    parts = message.headers.get(_SOURCE, "").split()
    return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else None
