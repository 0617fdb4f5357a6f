"""Finds queues that hold jobs, and that this version of the contract does not have: no worker of it takes them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from shlex import quote

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import (
    count_by_subject,
    count_messages,
    count_subjects,
)
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.plural import plural
from trellis_nats.binding import JobsBinding
from trellis_nats.errors import ApiError, NoResponders, PermissionDenied, TransportError
from trellis_nats.jobs.model.subjects import (
    DELAYED_STREAM,
    EVENTS_PREFIX,
    WORK_PREFIX,
    WORK_STREAM,
    JobSubjects,
)

__all__ = ["RemovedQueue", "find_removed_queues", "warn_of_removed_queues"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemovedQueue:
    """A queue of the service that its contract does not have, and that holds jobs."""

    name: str
    waiting: int
    """How many jobs have not ended, as far as the streams hold a message for them."""
    work_stream: str
    work_subject: str
    parked_filter: str
    """The subjects of its jobs that wait for long, in stream JOBS_DELAYED."""

    @property
    def remedy(self) -> str:
        """What an operator can do. The commands are quoted for a shell, because the name of a queue comes from a stored job."""
        return (
            "run a version that has the queue until it is empty, or drop the jobs: "
            f"nats stream purge {self.work_stream} --subject {quote(self.work_subject)} and "
            f"nats stream purge {DELAYED_STREAM} --subject {quote(self.parked_filter)}"
        )


async def warn_of_removed_queues(
    connection: Connection, service: str, jobs: JobsBinding | None
) -> list[RemovedQueue]:
    """Log, and return, each queue that holds jobs and that the contract does not have. What cannot be looked up is left out."""
    try:
        removed = await find_removed_queues(connection, service, jobs)
    except TransportError as error:
        fields = log_fields(LogEvent.QUEUES_UNKNOWN)
        _log.debug("it is not known whether removed queues hold jobs: %s", error, extra=fields)
        return []
    for queue in removed:
        _log.warning(
            "queue %s is not in this version of the contract and holds %s, which no worker of this version takes; %s",
            queue.name,
            plural(queue.waiting, "waiting job"),
            queue.remedy,
            extra=log_fields(LogEvent.QUEUE_REMOVED, queue=queue.name, stream=queue.work_stream),
        )
    return removed


async def find_removed_queues(
    connection: Connection, service: str, jobs: JobsBinding | None
) -> list[RemovedQueue]:
    """Return the queues of a service that hold jobs and that its contract does not have, by name.

    Jobs that are parked are counted if the account may look up stream JOBS_DELAYED.

    Args:
        connection: the connection.
        service: the name of the service, where it has no queues any more.
        jobs: the queues that its contract has.

    Raises:
        PermissionDenied: the account may not look up the work stream.
        TransportError: NATS did not answer.
    """
    namespace = service if jobs is None else jobs.namespace
    stream = WORK_STREAM if jobs is None else jobs.work_stream
    known = {queue.work_subject for queue in jobs.queues.values()} if jobs is not None else set[str]()
    prefix = f"{WORK_PREFIX}.{namespace}."
    working = await count_by_subject(connection, stream, f"{prefix}>")
    names = {subject.removeprefix(prefix) for subject in working if subject not in known}
    names |= await _find_parked(connection, namespace, {subject.removeprefix(prefix) for subject in known})
    found: list[RemovedQueue] = []
    for name in sorted(names):
        subjects = JobSubjects(f"{EVENTS_PREFIX}.{namespace}.{name}")
        waiting = working.get(f"{prefix}{name}", 0) + await _count_parked(connection, subjects)
        if waiting:
            parked = subjects.parked("*")
            found.append(RemovedQueue(name, waiting, stream, f"{prefix}{name}", parked))
    return found


async def _find_parked(connection: Connection, namespace: str, known: Collection[str]) -> set[str]:
    """Return the other queues with parked jobs. The subjects, one for each job, are listed only where there are some."""
    every = JobSubjects(f"{EVENTS_PREFIX}.{namespace}.*").parked("*")
    try:
        left = await count_subjects(connection, DELAYED_STREAM, every)
        for name in known if left else ():
            own = JobSubjects(f"{EVENTS_PREFIX}.{namespace}.{name}").parked("*")
            left -= await count_subjects(connection, DELAYED_STREAM, own)
        listed = await count_by_subject(connection, DELAYED_STREAM, every) if left > 0 else {}
    except (PermissionDenied, ApiError, NoResponders):
        return set()
    return {subject.split(".")[-2] for subject in listed}.difference(known)


async def _count_parked(connection: Connection, subjects: JobSubjects) -> int:
    try:
        waiting = await count_subjects(connection, DELAYED_STREAM, subjects.parked("*"))
        return waiting + await count_messages(connection, DELAYED_STREAM, subjects.due)
    except (PermissionDenied, ApiError, NoResponders):
        return 0
