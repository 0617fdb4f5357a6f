"""A job as a duty sees it: how it stands, which event opened it, and which process runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from trellis_nats.jobs.model.event import StoredEvent, instant
from trellis_nats.jobs.model.lifecycle import counting_events
from trellis_nats.jobs.model.snapshot import types_to_read
from trellis_nats.jobs.model.states import TERMINAL_STATES, EventType, JobState
from trellis_nats.jobs.store.event_log import EventLog

__all__ = ["JobLife", "life_of", "read_life"]


@dataclass(frozen=True, slots=True)
class JobLife:
    """A job as it stood when it was read."""

    newest: StoredEvent
    """Its newest event, whether it counts or not: the one that the next write must name."""
    opening: StoredEvent
    """The `created` or `retried` event from which it is worked."""
    state: JobState
    tries: int
    started_by: str | None
    """The process that began the newest attempt, where its event names it: only this runtime's does."""

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL_STATES

    @property
    def deadline(self) -> datetime | None:
        """When the job expires, as its worker reads it; None for never."""
        return instant(self.opening.event.deadline)


def life_of(events: Sequence[StoredEvent]) -> JobLife | None:
    """Return a job from the newest event of each type, oldest first; None without an event that opened it."""
    counting = counting_events(events)
    if not counting or counting[0].event.event_type not in (EventType.CREATED, EventType.RETRIED):
        return None
    started = [stored for stored in counting if stored.event.event_type == EventType.STARTED]
    return JobLife(
        newest=events[-1],
        opening=counting[0],
        state=counting[-1].event.effective_state,
        tries=counting[-1].event.tries,
        started_by=started[-1].event.instance_id if started else None,
    )


async def read_life(event_log: EventLog, job_id: str) -> JobLife | None:
    """Read a job; None where nothing of it is stored, or not what opened it.

    Raises:
        MalformedJobEvent: its newest event cannot be read.
        TransportError: NATS did not answer.
    """
    newest = await event_log.newest(job_id)
    if newest is None or newest.event.job_id != job_id:
        return None
    types = types_to_read(newest.event)
    others = await event_log.latest_by_type(job_id, types) if types else []
    return life_of(sorted((*others, newest), key=lambda stored: stored.sequence))
