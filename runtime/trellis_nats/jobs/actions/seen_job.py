"""Reads a job as it is now, before an action on it, as far as its caller has not seen it already."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from trellis_nats.errors import JobNotFound, PermissionDenied
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.lifecycle import counting_events
from trellis_nats.jobs.model.states import STATE_EVENTS, JobState
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.job_reader import JobReader

__all__ = ["SeenJob", "SeenJobs"]


class SeenJob(NamedTuple):
    """A job as it is now."""

    newest: StoredEvent
    """Its newest event, of any type: the fence of the next one."""
    decided: StoredEvent
    """The event that made its state."""
    events: Sequence[StoredEvent]
    """What was read of its events, oldest first."""

    @property
    def state(self) -> JobState:
        """Its state."""
        return self.decided.event.effective_state

    @property
    def identity(self) -> JobIdentity:
        """What its next event repeats."""
        event = self.newest.event
        return JobIdentity(
            job_id=event.job_id, service=event.service, queue=event.job_type, context=event.job_context()
        )


class SeenJobs:
    """Reads the jobs of one queue."""

    def __init__(self, event_log: EventLog, reader: JobReader) -> None:
        self._event_log = event_log
        self._reader = reader

    async def read(self, job_id: str, seen: int | None) -> SeenJob:
        """Read a job. Where its newest event is the one that the caller has seen, nothing else is read.

        Raises:
            JobNotFound: no event of it is stored.
            MalformedJobEvent: its newest event cannot be read.
            TransportError: NATS did not answer.
        """
        newest = await self._newest(job_id, seen)
        if newest.sequence == seen and newest.event.event_type in STATE_EVENTS:
            return SeenJob(newest, newest, (newest,))  # its caller knows that this event counts
        events = await self._reader.snapshot_events(newest)
        decided = [stored for stored in counting_events(events) if stored.event.event_type in STATE_EVENTS]
        return SeenJob(newest, decided[-1] if decided else newest, events)

    async def _newest(self, job_id: str, seen: int | None) -> StoredEvent:
        """Read the newest event of a job. A replica may lag behind what the caller has seen; the leader does not."""
        if seen is None:
            return await self._reader.newest(job_id)
        newest = await self._event_log.newest(job_id)
        if (newest is None or newest.sequence < seen) and self._event_log.is_replicated:
            with suppress(PermissionDenied):
                newest = await self._event_log.newest_from_leader(job_id)
        if newest is None:
            raise JobNotFound(f'no job "{job_id}" is stored any longer: its history was purged')
        return newest
