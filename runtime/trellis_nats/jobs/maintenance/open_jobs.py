"""Collects the jobs that are created or retried and not ended, from the events that a scan returns. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType

__all__ = ["SCANNED_EVENTS", "OpenJobs", "ScannedEvent"]

WORK_EVENTS: Final = (EventType.CREATED, EventType.RETRIED)
"""The events that the server copies to the work stream."""
SCANNED_EVENTS: Final = (*WORK_EVENTS, *sorted(TERMINAL_EVENTS))
"""The events that open or end a job."""


@dataclass(frozen=True, slots=True)
class ScannedEvent:
    """An event that opens or ends a job, as a scan returns it."""

    job_id: str
    event: str
    sequence: int
    time: datetime
    """When the server stored it."""


class OpenJobs:
    """The open jobs of one queue, up to a position in the stream. Holds at most `limit` jobs at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._opened_by: dict[str, ScannedEvent] = {}
        self._position = 0
        self._restart_at: int | None = None

    def __len__(self) -> int:
        return len(self._opened_by)

    @property
    def is_full(self) -> bool:
        """Whether the collected jobs must be processed before more events are added."""
        return len(self._opened_by) >= self._limit

    @property
    def position(self) -> int:
        """The sequence up to which the stream has been scanned."""
        return self._position

    def add(self, event: ScannedEvent) -> None:
        """Add the next event of the scan, which is one of `SCANNED_EVENTS`."""
        self._position = max(self._position, event.sequence)
        if event.event in WORK_EVENTS:
            self._opened_by[event.job_id] = event
        else:
            self._opened_by.pop(event.job_id, None)

    def opened_before(self, instant: datetime) -> list[ScannedEvent]:
        """Return the events that opened a job up to an instant, oldest first."""
        return [event for event in self._opened_by.values() if event.time <= instant]

    def remove(self, job_id: str) -> None:
        """Remove a job that has ended."""
        self._opened_by.pop(job_id, None)

    def clear(self) -> None:
        """Remove every job, to make room. The next scan starts at the first of them, because it may still be open."""
        if self._opened_by:
            first = min(event.sequence for event in self._opened_by.values())
            self._restart_at = first if self._restart_at is None else min(self._restart_at, first)
            self._opened_by.clear()

    def rewind(self) -> None:
        """Finish a scan. If jobs were cleared, the next scan starts before the first of them."""
        if self._restart_at is not None:
            self._position, self._restart_at = self._restart_at - 1, None
            self._opened_by.clear()
