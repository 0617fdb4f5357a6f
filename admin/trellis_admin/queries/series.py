"""What happened in each queue in a window, from the series of the projection."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from trellis_nats.jobs.model.states import EventType, JobState

from trellis_admin.projection.codes import (
    DELTA,
    EVENT_KINDS,
    MINUTE,
    RUN,
    STATE_CODES,
    STATES,
    WAIT,
    bucket_top,
    from_milliseconds,
    to_milliseconds,
)
from trellis_admin.queries.rows import Series

__all__ = ["BAD", "ENDED", "Happened", "Window", "count_by_state", "read_happened"]

_FINE: Final = 3 * 60
"""Minutes up to which a window is read minute by minute; a longer one in steps of ten."""
_COARSE: Final = 10
_POINTS: Final = 150
_RECENT: Final = 5
"""Whole minutes of which a rate is the mean."""
_BUCKETS: Final = 1_000

BAD: Final = (EventType.FAILED, EventType.DEAD, EventType.EXPIRED, EventType.STALE)
"""How a job ends badly: not completed, and not ended on purpose."""
ENDED: Final = (EventType.COMPLETED, *BAD, EventType.CANCELLED, EventType.SKIPPED)


@dataclass(frozen=True, slots=True)
class Window:
    """A window that ends now, in steps."""

    first: int
    """The minute at which it begins, since 1970."""
    step: int
    """In minutes."""
    slots: int
    raw_step: int
    """The step of the series that is read."""
    now: int
    """The minute that is under way."""

    @classmethod
    def ending(cls, now: datetime, length: timedelta) -> Window:
        """Return the window of a length, from a minute to a week, that ends at an instant."""
        minute = to_milliseconds(now) // MINUTE
        minutes = max(1, math.ceil(length / timedelta(minutes=1)))
        if minutes <= _FINE:
            step, raw = math.ceil(minutes / 60), 1
        else:
            step, raw = _COARSE * math.ceil(minutes / _COARSE / _POINTS), _COARSE
        slots = math.ceil(minutes / step)
        last = minute - minute % raw
        return cls(last - (slots - 1) * step, step, slots, raw, minute)

    def slot_of(self, minute: int) -> int:
        """Return the slot of a minute. What is later than now, by another clock, is in the last one."""
        return min((minute - self.first) // self.step, self.slots - 1)

    def series(self, values: Iterable[int]) -> Series:
        """Return values of the slots as a series."""
        return Series(from_milliseconds(self.first * MINUTE), timedelta(minutes=self.step), tuple(values))


@dataclass(slots=True)
class Happened:
    """What happened in one queue, or in several."""

    window: Window
    by_slot: defaultdict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter[int]))
    """Kinds by slot; the histograms are not in it."""
    totals: Counter[int] = field(default_factory=Counter[int])
    """Of the whole window, with the histograms."""
    recent: Counter[int] = field(default_factory=Counter[int])
    """Of the last whole minutes."""

    def add(self, minute: int, kind: int, number: int) -> None:
        """Count something."""
        self.totals[kind] += number
        if kind < WAIT:
            self.by_slot[self.window.slot_of(minute)][kind] += number

    def merge(self, other: Happened) -> None:
        """Add what happened in another queue."""
        self.totals.update(other.totals)
        self.recent.update(other.recent)
        for slot, kinds in other.by_slot.items():
            self.by_slot[slot].update(kinds)

    def count(self, *kinds: EventType) -> int:
        """Return how many events of some types there were."""
        return sum(self.totals[EVENT_KINDS[kind]] for kind in kinds)

    def rate(self, *kinds: EventType) -> float:
        """Return how many events of some types there were in a minute, in the last whole minutes."""
        minutes = min(_RECENT, self.window.slots * self.window.step)
        return sum(self.recent[EVENT_KINDS[kind]] for kind in kinds) / minutes

    def series(self, *kinds: EventType) -> Series:
        """Return how many events of some types there were in each slot."""
        codes = [EVENT_KINDS[kind] for kind in kinds]
        return self.window.series(
            sum(self.by_slot.get(slot, _NONE)[code] for code in codes) for slot in range(self.window.slots)
        )

    def history(self, now: int, *states: JobState) -> Series:
        """Return how many jobs were in some states at the end of each slot, given how many there are now."""
        codes = [DELTA + STATE_CODES[state] for state in states]
        values: list[int] = []
        left = now
        for slot in reversed(range(self.window.slots)):
            values.append(max(left, 0))
            left -= sum(self.by_slot.get(slot, _NONE)[code] for code in codes)
        return self.window.series(reversed(values))

    def wait(self, share: float) -> timedelta | None:
        """Return how long a share of the attempts, 0 to 1, waited at most; None where none began."""
        return self._quantile(WAIT, share)

    def run(self, share: float) -> timedelta | None:
        """Likewise, how long they ran."""
        return self._quantile(RUN, share)

    def _quantile(self, base: int, share: float) -> timedelta | None:
        buckets = sorted(
            (kind - base, number) for kind, number in self.totals.items() if base <= kind < base + _BUCKETS
        )
        wanted = share * sum(number for _, number in buckets)
        for bucket, number in buckets:
            wanted -= number
            if wanted <= 0:
                return bucket_top(bucket)
        return None


_NONE: Final = Counter[int]()


def read_happened(db: sqlite3.Connection, window: Window) -> dict[int, Happened]:
    """Return what happened in a window, by the number of the queue."""
    happened: defaultdict[int, Happened] = defaultdict(lambda: Happened(window))
    for queue, minute, kind, number in db.execute(
        "SELECT queue, at, kind, number FROM series WHERE step = ? AND at >= ?",
        (window.raw_step, window.first),
    ):
        happened[queue].add(minute, kind, number)
    for queue, kind, number in db.execute(
        "SELECT queue, kind, sum(number) FROM series WHERE step = 1 AND at >= ? AND at < ? GROUP BY queue, kind",
        (window.now - min(_RECENT, window.slots * window.step), window.now),
    ):
        happened[queue].recent[kind] += number
    return dict(happened)


def count_by_state(db: sqlite3.Connection) -> dict[int, dict[JobState, int]]:
    """Return how many jobs each queue has in each state, by the number of the queue."""
    counts: dict[int, dict[JobState, int]] = {}
    for queue, state, jobs in db.execute("SELECT queue, state, jobs FROM counter"):
        counts.setdefault(queue, dict.fromkeys(STATES, 0))[STATES[state]] = jobs
    return counts
