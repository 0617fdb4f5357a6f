"""The dead jobs of a queue, read from the stream: to look at them, and to replay or dismiss each."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Final, Generic

from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import MalformedJobEvent
from trellis_nats.jobs.actions.dead_listing import DeadEntry, list_dead
from trellis_nats.jobs.model.snapshot import JobSnapshot, snapshot_of
from trellis_nats.jobs.model.states import JobState
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue_actions import actions_of, from_service
from trellis_nats.jobs.ref import JobRef
from trellis_nats.jobs.work.queue_context import QueueContext

__all__ = ["DeadJob", "dead_jobs"]

_log = logging.getLogger(__name__)

_READ_AT_ONCE: Final = 16


class DeadJob(Generic[PayloadT, ResultT, UpdateT]):
    """A dead job, as it was when it was read. If it has changed since, `replay` and `dismiss` leave it alone."""

    def __init__(
        self,
        queue: QueueContext[PayloadT, ResultT, UpdateT],
        snapshot: JobSnapshot[PayloadT, ResultT],
        *,
        sequence: int,
    ) -> None:
        """Created by `queue.dead()`; `sequence` is that of the event by which the job died."""
        self.ref = JobRef(queue, snapshot.id, is_stored=True)
        """A handle on the job."""
        self.snapshot = snapshot
        """The job as it was read: its payload, its last error, its attempts."""
        self._queue = queue
        self._sequence = sequence

    def __repr__(self) -> str:
        return f"<DeadJob {self.ref.queue} {self.ref.id}>"

    async def replay(
        self,
        *,
        reason: str | None = None,
        actor: str | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> JobRef[PayloadT, ResultT, UpdateT]:
        """Let the job begin again, if nothing has happened to it since it was read. Return its ref.

        The arguments and the errors are those of `ref.retry`.
        """
        self._queue.connection.require_own_loop()
        by = from_service(actor=actor, reason=reason)
        await actions_of(self._queue).replay(self.ref.id, by, seen=self._sequence, deadline=deadline)
        return self.ref

    async def dismiss(self, *, reason: str | None = None, actor: str | None = None) -> None:
        """Put the job aside, if nothing has happened to it since it was read.

        The arguments and the errors are those of `ref.dismiss`.
        """
        self._queue.connection.require_own_loop()
        by = from_service(actor=actor, reason=reason)
        await actions_of(self._queue).dismiss(self.ref.id, by, seen=self._sequence)


async def dead_jobs(
    context: QueueContext[PayloadT, ResultT, UpdateT],
) -> AsyncGenerator[DeadJob[PayloadT, ResultT, UpdateT], None]:
    """Yield the jobs of a queue that are dead now; see `JobQueue.dead`."""
    context.connection.require_own_loop()

    async def read(entry: DeadEntry) -> DeadJob[PayloadT, ResultT, UpdateT] | None:
        try:
            newest = await context.event_log.newest(entry.job_id)
            if newest is None:
                return None  # purged meanwhile
            events = await context.reader.snapshot_events(newest)
            snapshot = snapshot_of(events, payloads=context.payloads, result=context.result)
        except MalformedJobEvent as error:
            _log.warning(
                "dead job %s of queue %s is left out: %s",
                entry.job_id,
                context.queue,
                error,
                extra=log_fields(LogEvent.JOB_UNREADABLE, queue=context.queue, job_id=entry.job_id),
            )
            return None
        if snapshot is None or snapshot.state is not JobState.DEAD:
            return None
        return DeadJob(context, snapshot, sequence=entry.sequence)

    entries = await list_dead(context.connection, context.subjects)
    for start in range(0, len(entries), _READ_AT_ONCE):
        for job in await bounded_gather(entries[start : start + _READ_AT_ONCE], read):
            if job is not None:
                yield job
