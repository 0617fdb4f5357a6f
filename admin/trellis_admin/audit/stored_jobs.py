"""The payloads of jobs that a worker may still read, one after the other, with their states and writers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.bulk_reader import Stored
from trellis_nats._nats.wire.message import Message
from trellis_nats.jobs.model.subjects import STREAM
from trellis_nats.jobs.queue_surface import QueueSurface
from trellis_nats.surface import Surface

from trellis_admin.audit.counts import Counted
from trellis_admin.audit.open_jobs import OPENING, OpenJobs, parse_subject
from trellis_admin.audit.readers import PayloadReader
from trellis_admin.audit.reading import job_filters, read_chosen

__all__ = ["Selection", "StoredPayload", "list_queues", "read_payloads", "select_jobs"]


class StoredPayload(NamedTuple):
    """The event that has the payload of a job."""

    queue: str
    job_id: str
    sequence: int
    message: Message
    digest: str
    """That of the contract that wrote the payload; empty where that is not known."""
    is_dead: bool


@dataclass(slots=True)
class Selection:
    """Which events are read."""

    sequences: list[int] = field(default_factory=list[int])
    """In order."""
    dead: set[int] = field(default_factory=set[int])
    """Those of dead jobs."""
    origins: set[int] = field(default_factory=set[int])
    """Those that say who created a job, whose payload is in another one."""
    expected: Counter[str] = field(default_factory=Counter[str])
    """How many jobs each queue has, also those whose payload is gone."""
    removed: dict[str, Counted] = field(default_factory=dict[str, Counted])
    """How many jobs are in queues that the contract does not have."""


def list_queues(surfaces: Sequence[Surface]) -> dict[str, QueueSurface]:
    """Return the queues of a service by name."""
    return {surface.spec.name: surface for surface in surfaces if isinstance(surface, QueueSurface)}


def select_jobs(jobs: OpenJobs, queues: Collection[str]) -> Selection:
    """Return which events are read for the jobs that wait or are dead."""
    selection = Selection()
    for queue, job in jobs.audited():
        if queue not in queues:
            selection.removed.setdefault(queue, Counted()).add(is_dead=job.is_dead)
            continue
        selection.expected[queue] += 1
        if job.sequence:
            selection.sequences.append(job.sequence)
        if job.created:
            selection.sequences.append(job.created)
            selection.origins.add(job.created)
        if job.is_dead:
            selection.dead.add(job.sequence)
    selection.sequences.sort()
    return selection


async def read_payloads(
    connection: Connection, namespace: str, selection: Selection, readers: Mapping[str, PayloadReader]
) -> AsyncIterator[list[StoredPayload]]:
    """Yield the selected payloads page by page.

    Raises:
        TransportError: the stream cannot be read.
    """
    filters = job_filters(namespace, OPENING)
    async for page in read_chosen(connection, STREAM, filters, selection.sequences):
        yield [payload for stored in page if (payload := _read_one(stored, selection, readers)) is not None]


def _read_one(
    stored: Stored, selection: Selection, readers: Mapping[str, PayloadReader]
) -> StoredPayload | None:
    sequence, message = stored
    queue, job_id, _ = parse_subject(message.subject)
    reader = readers[queue]
    if sequence in selection.origins:
        reader.remember(message, sequence, job_id)
        return None
    digest = reader.find_writer(message, job_id)
    return StoredPayload(queue, job_id, sequence, message, digest, is_dead=sequence in selection.dead)
