"""For how long a key stood still although one job of it could have run all the time. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.harness.dump import Record
from tests.faults.harness.handlings import Handling, were_cut_off
from tests.faults.harness.history import Entry, What
from tests.faults.keys.starvation import UsableTime

__all__ = ["SERVER_AWAY", "SERVER_BACK", "Idle", "idle_times"]

SERVER_AWAY: Final = "server killed"
SERVER_BACK: Final = "server back"

_SECOND: Final = 1_000_000_000
_RECOVERY: Final = 5 * _SECOND
"""How soon every worker must consume again (guarantees.md, 8)."""
_ENDS: Final = frozenset(
    {"completed", "failed", "cancelled", "expired", "skipped", "stale", "dead", "dismissed"}
)


@dataclass(frozen=True, slots=True)
class Idle:
    """One such time."""

    key: tuple[str, str]
    since: int
    until: int
    counted: int
    """Nanoseconds of it, without those in which the server was away, and without those of which the processes were starved."""
    allowed: int

    @property
    def is_too_long(self) -> bool:
        """Whether the key was stuck."""
        return self.counted > self.allowed


def idle_times(
    history: Sequence[Entry],
    runs: Iterable[Handling],
    records: Iterable[Record],
    keys: Mapping[str, tuple[str, str]],
    *,
    lease: int,
    ack_wait: int,
) -> list[Idle]:
    """Return every time in which a key had a job without an end, and no handler. All in nanoseconds.

    Of such a time, only the part counts that is the longest for one of its jobs: where a newer job replaces the one that
    waits, nothing waits for longer than that. Allowed is a lease and a second, and an ack wait for whatever held a message of the key and died: at first, and for
    each process that was killed or stood still, or server that was killed, meanwhile.
    """
    last = history[-1].at if history else 0
    away = were_cut_off(history)
    changes: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)
    lives: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for job, (begin, end) in _lives(records, last).items():
        if job in keys:
            lives[keys[job]].append((begin, end))
            changes[keys[job]] += [(begin, 1, 0), (end, -1, 0)]
    for run in runs:
        if run.job in keys:
            stops = [since for since, _ in away.get(run.pid, ()) if run.enter <= since < run.end]
            changes[keys[run.job]] += [(run.enter, 0, 1), (min([run.end, *stops]), 0, -1)]
    faults = [
        entry.at
        for entry in history
        if entry.what in {What.KILLED, What.CUT_OFF} or entry.text("fault") == SERVER_AWAY
    ]
    usable = UsableTime(history, _outages(history, last))

    def idle(key: tuple[str, str], since: int, until: int) -> Idle:
        parts = [
            (max(since, begin), min(until, end)) for begin, end in lives[key] if begin < until and since < end
        ]
        since, until = max(parts, key=lambda part: usable.between(*part), default=(since, until))
        blows = sum(since - ack_wait <= at <= until for at in faults)
        return Idle(key, since, until, usable.between(since, until), lease + _SECOND + ack_wait * (1 + blows))

    return [idle(key, since, until) for key, its in changes.items() for since, until in _still(its, last)]


def _still(changes: Iterable[tuple[int, int, int]], last: int) -> list[tuple[int, int]]:
    """Return when there were jobs and no handler, of the moments at which there was one more or less of either."""
    found: list[tuple[int, int]] = []
    waiting = running = 0
    since: int | None = None
    for at, job, run in sorted(changes):
        waiting, running = waiting + job, running + run
        stands_still = waiting > 0 and running <= 0
        if stands_still and since is None:
            since = at
        elif not stands_still and since is not None:
            found.append((since, at))
            since = None
    if since is not None and since < last:
        found.append((since, last))
    return found


def _lives(records: Iterable[Record], last: int) -> dict[str, tuple[int, int]]:
    lives: dict[str, tuple[int, int]] = {}
    for record in records:
        begin, _ = lives.get(record.job, (record.at, last))
        if record.event == "created" and record.job not in lives:
            lives[record.job] = record.at, last
        elif record.event in _ENDS and record.job in lives and lives[record.job][1] == last:
            lives[record.job] = begin, record.at
    return lives


def _outages(history: Sequence[Entry], last: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    since: int | None = None
    for entry in history:
        fault = entry.text("fault")
        if fault == SERVER_AWAY:
            since = entry.at
        elif fault == SERVER_BACK and since is not None:
            found.append((since, entry.at + _RECOVERY))
            since = None
    if since is not None:
        found.append((since, last))
    return _joined(found)


def _joined(times: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join those that overlap, so that nothing is taken off twice."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(times):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined
