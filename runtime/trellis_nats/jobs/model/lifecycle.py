"""Which events of a job count: one rule for every reader, whichever runtime wrote them. Pure.

It is the rule of the other runtimes' own readers (reference, 8.5): until a job has ended, every event counts; the first
ending is final. An event is not refused because its writer believed in another state: a worker of another runtime writes
`started` with `previousState: pending` and `tries: 1` on every redelivery (reference, 8.3). After an ending counts only
what the reference allows there (8.1): an operator's `retried` and `dismissed`, and `dead` after `failed` or `expired`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.states import STATE_AFTER, TERMINAL_EVENTS, EventType

__all__ = ["JobLife", "begins_history", "counting_events", "endings_of", "is_counted"]

_AFTER_END: Final[dict[str, frozenset[str]]] = {
    EventType.FAILED: frozenset({EventType.RETRIED, EventType.DEAD}),
    EventType.EXPIRED: frozenset({EventType.DEAD}),
    EventType.DEAD: frozenset({EventType.RETRIED, EventType.DISMISSED}),
}
"""The events that count after an ending."""


def is_counted(kind: str, ended_by: str | None) -> bool:
    """Return whether the next event of a job counts. An event of an unknown type does not.

    A second `created` begins the job again, as its worker does: a runtime that does not fence its `created` events
    may store one again.

    Args:
        kind: its type.
        ended_by: the type of the event that ended the job; None while it has not ended.
    """
    if kind not in STATE_AFTER:
        return False
    if ended_by is None or kind == EventType.CREATED:
        return True
    return kind in _AFTER_END.get(ended_by, frozenset())


def begins_history(event: LifecycleEvent) -> bool:
    """Return whether an event can be the first one of a job that is stored.

    It is `created`, or a `retried` with the payload, behind which the history was purged before it was stored.
    """
    return event.event_type == EventType.CREATED or (
        event.event_type == EventType.RETRIED and event.has_payload
    )


class JobLife:
    """Applies the rule to the events of one job, in the order of the stream."""

    def __init__(self) -> None:
        self._ended_by: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the last event that counts ended the job."""
        return self._ended_by is not None

    def take(self, event: LifecycleEvent) -> bool:
        """Take the next event, and return whether it counts: see `is_counted`."""
        kind = event.event_type
        if not is_counted(kind, self._ended_by):
            return False
        self._ended_by = kind if kind in TERMINAL_EVENTS else None
        return True


def counting_events(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """Return the events that count, from the last `created` or `retried` that does. `events` holds the oldest first.

    The newest event of each type is enough: an older one of a type decides nothing that the newest does not, unless a
    runtime that writes without a fence ended the job twice in the same way.
    """
    life, counting = JobLife(), list[StoredEvent]()
    for stored in events:
        if life.take(stored.event):
            if stored.event.event_type in (EventType.CREATED, EventType.RETRIED):
                counting.clear()
            counting.append(stored)
    return counting


def endings_of(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """Return the endings that count, the one that decides last; empty for a job that has not ended.

    `events` holds the newest event of each terminal type and the newest `retried`, oldest first. Nothing else is needed.
    """
    counting = counting_events(events)
    if not counting or not counting[-1].event.is_terminal:
        return []
    return [stored for stored in counting if stored.event.is_terminal]
