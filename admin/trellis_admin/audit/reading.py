"""Reads chosen messages of a stream, and finds out which ones to choose. Nothing is acknowledged, and no consumer stays."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.bulk_reader import BulkReader, Stored
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, STREAM

from trellis_admin.audit.open_jobs import SCANNED, OpenJobs, parse_subject

__all__ = ["Progress", "find_jobs", "find_newest", "job_filters", "read_chosen"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many messages are done, and how many there are."""

_GAP: Final = 5_000
"""Between two chosen messages that are further apart, a new consumer skips the others: it costs about as much as to read them."""
_NONE: Final = 2**63
"""A sequence that no stream reaches."""
_REOPENING: Final = (EventType.RETRIED, EventType.DEAD)


def job_filters(namespace: str, kinds: Sequence[str]) -> list[str]:
    """Return the subjects of some events of every job of a service, whatever queues its contract has."""
    return [f"{EVENTS_PREFIX}.{namespace}.*.*.{kind}" for kind in kinds]


async def find_jobs(connection: Connection, namespace: str, *, results: int, progress: Progress) -> OpenJobs:
    """Return the jobs of a service that wait or are dead, and the newest results.

    Raises:
        TransportError: the stream cannot be read.
    """
    reopened: set[str] = set()
    async with BulkReader(
        connection, STREAM, job_filters(namespace, _REOPENING), headers_only=True
    ) as reader:
        while page := await reader.read():
            reopened.update(parse_subject(stored.message.subject).job_id for stored in page)
    jobs = OpenJobs(reopened=reopened, results=results)
    async with BulkReader(connection, STREAM, job_filters(namespace, SCANNED), headers_only=True) as reader:
        total, done = reader.left, 0
        while page := await reader.read():
            for sequence, message in page:
                jobs.add(parse_subject(message.subject), sequence)
            done += len(page)
            progress("finding jobs", done, total)
    return jobs


async def find_newest(connection: Connection, stream: str, filter_subject: str, most: int) -> list[int]:
    """Return where the newest messages under a subject are, oldest first.

    Raises:
        TransportError: the stream cannot be read.
    """
    newest: deque[int] = deque(maxlen=most)
    async with BulkReader(connection, stream, [filter_subject], headers_only=True) as reader:
        while page := await reader.read():
            newest.extend(stored.sequence for stored in page)
    return list(newest)


async def read_chosen(
    connection: Connection, stream: str, filters: Sequence[str], chosen: Sequence[int]
) -> AsyncIterator[list[Stored]]:
    """Yield the chosen messages, in order and page by page. `chosen` holds sequences in ascending order.

    Messages that the stream does not have any more are left out.

    Raises:
        TransportError: the stream cannot be read.
    """
    for run in _runs(chosen):
        waiting = iter(run)
        wanted = next(waiting)
        async with BulkReader(connection, stream, filters, after=run[0] - 1, until=run[-1]) as reader:
            while page := await reader.read():
                found: list[Stored] = []
                for stored in page:
                    while wanted < stored.sequence:  # the stream does not have it any more
                        wanted = next(waiting, _NONE)
                    if wanted == stored.sequence:
                        found.append(stored)
                yield found


def _runs(chosen: Sequence[int]) -> Iterator[Sequence[int]]:
    start = 0
    for at, (one, next_one) in enumerate(pairwise(chosen), 1):
        if next_one - one > _GAP:
            yield chosen[start:at]
            start = at
    if chosen:
        yield chosen[start:]
