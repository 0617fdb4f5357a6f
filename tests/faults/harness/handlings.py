"""The runs of handlers, as the history has them: which worker ran which job, from when to when. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.harness.history import Entry, What

__all__ = ["AWAKE", "Handling", "crowded", "handlings", "overlaps", "were_cut_off"]

AWAKE: Final = 1_000_000_000
"""Nanoseconds in which a process that stood still and goes on must have ended what it has lost."""


@dataclass(frozen=True, slots=True)
class Handling:
    """One run of a handler."""

    job: str
    tries: int
    pid: int
    queue: str
    enter: int
    end: int
    """Where nothing was written at its end: when its process was killed, else the end of the history."""
    how: str
    """returned, raised or interrupted; killed with its process; open where the history ends before it."""


def handlings(history: Sequence[Entry]) -> list[Handling]:
    """Return every handling, in the order in which they began."""
    killed = {entry.pid: entry.at for entry in history if entry.what is What.KILLED}
    last = history[-1].at if history else 0
    begun: dict[tuple[int, str, int], Entry] = {}
    found: list[Handling] = []
    for entry in history:
        key = (entry.pid, entry.job, entry.tries)
        if entry.what is What.ENTER:
            begun[key] = entry
        elif entry.what is What.EXIT and key in begun:
            found.append(_handling(begun.pop(key), entry.at, entry.text("how")))
    for entry in begun.values():
        died = killed.get(entry.pid)
        # A process goes on for some microseconds after it was decided to kill it.
        found.append(
            _handling(entry, last, "open")
            if died is None
            else _handling(entry, max(died, entry.at), "killed")
        )
    return sorted(found, key=lambda each: each.enter)


def overlaps(of_job: Sequence[Handling]) -> list[tuple[Handling, Handling]]:
    """Return each pair of handlings of one job that ran at the same time; the one that began first comes first."""
    return [
        (first, second)
        for number, first in enumerate(of_job)
        for second in of_job[number + 1 :]
        if second.enter < first.end
    ]


def were_cut_off(history: Iterable[Entry]) -> dict[int, list[tuple[int, int]]]:
    """Return by process when it stood still or reached no server; one that never came back did so to the end."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    since: dict[int, int] = {}
    last = 0
    for entry in history:
        last = entry.at
        if entry.what is What.CUT_OFF:
            since[entry.pid] = entry.at
        elif entry.what is What.BACK and entry.pid in since:
            found[entry.pid].append((since.pop(entry.pid), entry.at))
    for pid, at in since.items():
        found[pid].append((at, last))
    return found


def crowded(history: Iterable[Entry], runs: Iterable[Handling]) -> list[str]:
    """Return each process and queue that ran more handlers at a time than its limit."""
    limits = {entry.pid: entry.facts.get("concurrency") for entry in history if entry.what is What.WORKS}
    moments: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for run in runs:
        moments[run.pid, run.queue] += [(run.enter, 1), (run.end, -1)]
    found: list[str] = []
    for (pid, queue), changes in moments.items():
        now = most = 0
        for _, change in sorted(changes):
            now += change
            most = max(most, now)
        limit = limits.get(pid)
        if isinstance(limit, int) and most > limit:
            found.append(f"{most} of {limit} in queue {queue} of process {pid}")
    return found


def _handling(begun: Entry, end: int, how: str) -> Handling:
    return Handling(begun.job, begun.tries, begun.pid, begun.text("queue"), begun.at, end, how)
