"""Whether more handlers of a key ran at a time than its queue allows. Pure.

A handler counts from its first to its last line, or to the kill of its process. Of a process that stood still, by
SIGSTOP or because the machine had no time for it, it does not count from the moment on at which others may have its
slot, until its process has gone on for a moment: it is told then that its slot is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tests.faults.harness.handlings import AWAKE, Handling, were_cut_off
from tests.faults.harness.history import Entry, What

__all__ = ["MARGIN", "STALLED", "crowds", "stalls"]

MARGIN: Final = 1 / 6
"""Of a lease: an owner that runs counts its slot as lost so much before others may take it, so they wait that long
after it began to stand still, at least."""
STALLED: Final = "stalled"
"""The fault of an entry that a process writes when its event loop goes on. Facts: `since`."""


def crowds(
    history: Sequence[Entry],
    runs: Iterable[Handling],
    keys: Mapping[str, tuple[str, str]],
    limits: Mapping[str, tuple[int, int]],
    *,
    lease: int,
) -> list[str]:
    """Name each moment at which a key had too many handlers, by those that ran. `lease` is in nanoseconds."""
    away = were_cut_off(history)
    for entry, since in stalls(history):
        away.setdefault(entry.pid, []).append((since, entry.at))
    changes: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    for run in runs:
        key = keys.get(run.job)
        if key is None:
            continue  # another check names jobs that were not submitted
        for since, until in _counted(run, away.get(run.pid, ()), int(lease * MARGIN)):
            if since >= until:
                continue  # it ended in the moment in which it began to count
            name = f"{run.job} try {run.tries}"
            changes[key] += [(since, 1, name), (until, -1, name)]
    found: list[str] = []
    for key, its in changes.items():
        running: list[str] = []
        for at, change, name in sorted(its):
            if change < 0:
                running.remove(name)
                continue
            running.append(name)
            if len(running) > limits[key[0]][0]:
                found.append(f"{key} at {at}: {', '.join(running)}")
    return found


def stalls(history: Iterable[Entry]) -> list[tuple[Entry, int]]:
    """Return each entry that ends a stall, with the beginning of the stall."""
    return [
        (entry, since)
        for entry in history
        if entry.what is What.NEMESIS and entry.text("fault") == STALLED
        for since in [entry.facts.get("since")]
        if isinstance(since, int)
    ]


def _counted(run: Handling, away: Iterable[tuple[int, int]], margin: int) -> list[tuple[int, int]]:
    left = [(run.enter, run.end)]
    for since, until in away:
        begin, end = since + margin, until + AWAKE
        if until <= begin:
            continue  # it did not stand still for long enough to lose anything
        left = [
            piece
            for first, last in left
            for piece in ((first, min(last, begin)), (max(first, end), last))
            if piece[0] < piece[1]
        ]
    return left
