"""Lists jobs and services for the admin RPCs, page by page, with offsets as the wire has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats.jobs.model.states import JobState

from trellis_admin.queries import (
    JobFilter,
    JobRow,
    Selection,
    Term,
    Word,
    WorkerRow,
    list_jobs,
    list_queues,
    list_workers,
    read_status,
)
from trellis_admin.rpc.reading import read_job
from trellis_admin.rpc.trellis_jobs_participant import (
    Job,
    JobsListServicesResponseEntry,
    JobsListServicesResponseEntryWorker,
)
from trellis_admin.session import Session

__all__ = [
    "LIMIT_MAX",
    "Page",
    "Wanted",
    "list_services",
    "list_wanted",
    "list_workers_of",
    "make_filter",
    "read_services",
]

T = TypeVar("T")

LIMIT_MAX: Final = 100
"""How many jobs a page has at most: each is read from the stream."""
_SKIPPED_AT_A_TIME: Final = 1_000
_PART_OF_A_MESSAGE: Final = 0.75
"""How much of the largest message the jobs of a page may fill."""
_FRESH: Final = timedelta(seconds=90)
"""How old the heartbeat of a healthy worker may be (reference, section 16)."""


class Wanted(NamedTuple):
    """Which jobs a caller asks for."""

    service: str | None
    queue: str | None
    states: frozenset[JobState]
    """Empty: all."""
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    entries: list[T]
    count: int
    """How many the whole list has; at least 10,000 where a longer one was not counted to its end."""
    offset: int
    limit: int
    next_offset: int | None


def make_filter(wanted: Wanted) -> JobFilter:
    """Return the filter for the jobs that a caller asks for."""
    terms: list[Term] = []
    if wanted.service is not None:
        terms.append(Term(Word.SERVICE, (wanted.service,)))
    if wanted.queue is not None:
        terms.append(Term(Word.QUEUE, (wanted.queue,)))
    if wanted.states:
        terms.append(Term(Word.STATE, tuple(sorted(state.value for state in wanted.states))))
    if wanted.since is not None:
        terms.append(Term(Word.SINCE, after=wanted.since))
    return JobFilter(tuple(terms))


async def list_wanted(session: Session, wanted: Wanted, *, offset: int, limit: int) -> Page[Job]:
    """Return a page of jobs without their values, the newest first.

    Raises:
        ProjectionProblem: the file of the projection cannot be read.
        TransportError: the server did not answer.
    """
    limit = min(limit, LIMIT_MAX)
    rows, count, has_more = await session.ask(_read_rows, make_filter(wanted), offset, limit)

    async def read(row: JobRow) -> Job | None:
        return await read_job(session.connection, row.prefix, row.id)

    jobs = await bounded_gather(rows, read)
    most_bytes = round(session.connection.max_payload * _PART_OF_A_MESSAGE)
    taken = _fitting(jobs, most_bytes)
    return Page(
        entries=[job for job in jobs[:taken] if job is not None],
        count=count,
        offset=offset,
        limit=limit,
        next_offset=offset + taken if has_more or taken < len(rows) else None,
    )


def list_services(
    workers: Iterable[WorkerRow], services: Iterable[str]
) -> list[JobsListServicesResponseEntry]:
    """Return services with their workers, by name. Those without a worker are not healthy."""
    by_service: dict[str, list[WorkerRow]] = {service: [] for service in services}
    for worker in workers:
        by_service.setdefault(worker.service, []).append(worker)
    return [
        JobsListServicesResponseEntry(
            name=service,
            healthy=any(not worker.is_silent for worker in found),
            workers=[entry for worker in found for entry in list_workers_of(worker)],
        )
        for service, found in sorted(by_service.items())
    ]


def list_workers_of(worker: WorkerRow) -> list[JobsListServicesResponseEntryWorker]:
    """Return the newest heartbeat of a worker for each of its queues."""
    return [
        JobsListServicesResponseEntryWorker.model_validate(
            {
                "service": worker.service,
                "jobType": queue.queue,
                "instanceId": worker.instance_id,
                "timestamp": worker.heartbeat_at,
                **({"concurrency": queue.concurrency} if queue.concurrency >= 1 else {}),
                **({"version": worker.version} if worker.version else {}),
            }
        )
        for queue in worker.queues
    ]


async def read_services(session: Session, at: datetime) -> list[JobsListServicesResponseEntry]:
    """Return all services that have a worker, or had a job.

    Raises:
        ProjectionProblem: the file of the projection cannot be read.
    """
    workers = await session.ask(partial(list_workers, silent_after=_FRESH), at)
    queues = await session.ask(list_queues, timedelta(minutes=1), at)
    return list_services(workers, (queue.service for queue in queues))


def _read_rows(
    db: sqlite3.Connection, wanted: JobFilter, offset: int, limit: int
) -> tuple[Sequence[JobRow], int, bool]:
    """Return the rows of a page, how many the list has, and whether others follow."""
    selection = Selection(wanted, read_status(db).at)
    before: int | None = None
    left = offset
    while left > 0:
        page = list_jobs(db, selection, before=before, limit=min(left, _SKIPPED_AT_A_TIME))
        left -= len(page.rows)
        before = page.next
        if before is None:
            return (), page.total.number, False
    page = list_jobs(db, selection, before=before, limit=limit)
    count = max(page.total.number, offset + len(page.rows))
    return page.rows, count, page.next is not None


def _fitting(jobs: Sequence[Job | None], most_bytes: int) -> int:
    """Return how many of the first jobs fit into a message: one at least, so that a caller comes to the end."""
    size = 0
    for number, job in enumerate(jobs):
        size += 0 if job is None else len(job.model_dump_json(by_alias=True))
        if size > most_bytes and number > 0:
            return number
    return len(jobs)
