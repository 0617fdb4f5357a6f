"""How much the machine kept the processes of a scenario from running, observed from outside.

Linux counts for each thread how long it could have run and waited for a processor. A test that counts this time as lost
finds a key that stands still on a machine with time to spare, and excuses one that no process had time for. What a
process brings upon itself is not excused: a thread that computes does not wait.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.faults.harness.history import Entry, HistoryFile, What

__all__ = ["STARVED", "StarvationObserver", "UsableTime", "starved_seconds"]

STARVED: Final = "starved"
"""The fault of an entry that the observer writes. Facts: `since`, and `share`, the share of that time in which the worst-off
process waited for a processor."""
_EVERY: Final = 0.25
_SECOND: Final = 1e9


class StarvationObserver:
    """Writes down again and again how starved the worst-off process is."""

    def __init__(self, history: HistoryFile, pids: Callable[[], Iterable[int]]) -> None:
        self.seconds = 0.0
        """Of which the worst-off process was starved so far."""
        self._history = history
        self._pids = pids

    async def observe(self) -> None:
        """Observe until cancelled."""
        before, waited = time.monotonic_ns(), _waited(self._pids())
        while True:
            await asyncio.sleep(_EVERY)
            now, waits = time.monotonic_ns(), _waited(self._pids())
            longest = max((waits[each] - waited[each] for each in waits.keys() & waited.keys()), default=0)
            longest = min(longest, now - before)
            self.seconds += longest / _SECOND
            self._history.write(What.NEMESIS, fault=STARVED, since=before, share=longest / (now - before))
            before, waited = now, waits


def starved_seconds(history: Iterable[Entry]) -> float:
    """Return for how many seconds in all the worst-off process waited for a processor."""
    return sum((until - since) * share for since, until, share in _starved(history)) / _SECOND


class UsableTime:
    """How much time the processes of a scenario had: without outages, and without what they were starved of."""

    def __init__(self, history: Sequence[Entry], outages: Iterable[tuple[int, int]]) -> None:
        self._at = [0]
        self._sums = [0.0]
        self._rates = [1.0]
        lost = [*_starved(history), *((since, until, 1.0) for since, until in outages)]
        moments = sorted({moment for since, until, _ in lost for moment in (since, until)})
        begins = sorted(lost)
        running: list[tuple[int, int, float]] = []
        for moment in moments:
            while begins and begins[0][0] <= moment:
                running.append(begins.pop(0))
            running = [each for each in running if each[1] > moment]
            self._add(moment, 1.0 - max((share for _, _, share in running), default=0.0))

    def _add(self, at: int, rate: float) -> None:
        self._sums.append(self._sums[-1] + (at - self._at[-1]) * self._rates[-1])
        self._at.append(at)
        self._rates.append(rate)

    def between(self, since: int, until: int) -> int:
        """Return how many nanoseconds of a time were usable."""
        return int(self._until(until) - self._until(since))

    def _until(self, at: int) -> float:
        number = bisect_right(self._at, at) - 1
        return self._sums[number] + (at - self._at[number]) * self._rates[number]


def _starved(history: Iterable[Entry]) -> list[tuple[int, int, float]]:
    found: list[tuple[int, int, float]] = []
    for entry in history:
        if entry.what is What.NEMESIS and entry.text("fault") == STARVED:
            since, share = entry.facts.get("since"), entry.facts.get("share")
            if isinstance(since, int) and isinstance(share, int | float):
                found.append((since, entry.at, float(share)))
    return found


def _waited(pids: Iterable[int]) -> dict[Path, int]:
    """Return how long each thread of these processes has waited for a processor so far, in nanoseconds."""
    found: dict[Path, int] = {}
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                found[thread] = int(thread.read_text(encoding="ascii").split()[1])
            except (OSError, ValueError, IndexError):
                continue  # it has just ended
    return found
