"""Which jobs have begun their life and not ended it, by what a listing shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType

__all__ = ["SCANNED", "OpenJobs", "Seed"]

SEEDS: Final = (EventType.CREATED, EventType.RETRIED)
"""The events that become work."""
SCANNED: Final = (*SEEDS, *sorted(TERMINAL_EVENTS))
"""The events that open a job's life or end it."""


@dataclass(frozen=True, slots=True)
class Seed:
    """The event that became, or should have become, a work message."""

    job_id: str
    event: str
    sequence: int
    time: datetime
    """When the server stored it."""


class OpenJobs:
    """The open jobs of one queue up to some place of the stream: a set that never holds more than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seeds: dict[str, Seed] = {}
        self._position = 0
        self._floor: int | None = None

    def __len__(self) -> int:
        return len(self._seeds)

    @property
    def is_full(self) -> bool:
        """Whether what is held must be dealt with before more is read."""
        return len(self._seeds) >= self._limit

    @property
    def position(self) -> int:
        """The sequence up to which the stream has been read."""
        return self._position

    def see(self, seed: Seed) -> None:
        """Take the next event of the stream, whichever of `SCANNED` it is."""
        self._position = max(self._position, seed.sequence)
        if seed.event in SEEDS:
            self._seeds[seed.job_id] = seed
        else:
            self._seeds.pop(seed.job_id, None)

    def older_than(self, instant: datetime) -> list[Seed]:
        """Return what has been open since before an instant, oldest first."""
        return [seed for seed in self._seeds.values() if seed.time <= instant]

    def drop(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._seeds.pop(job_id, None)

    def make_room(self) -> None:
        """Forget every job, to read on. The next reading begins again at the first of them that is still open."""
        if self._seeds:
            first = min(seed.sequence for seed in self._seeds.values())
            self._floor = first if self._floor is None else min(self._floor, first)
            self._seeds.clear()

    def rewind(self) -> None:
        """End a reading: where jobs had to be forgotten, the next one begins before the first of them."""
        if self._floor is not None:
            self._position, self._floor = self._floor - 1, None
            self._seeds.clear()
