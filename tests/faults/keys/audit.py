"""Judges a keyed scenario by what its processes wrote down and what the server has stored. Pure.

The promises to every job are judged by the harness's own checker; here are those to keys and to submitters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.harness.checker import Verdict, check
from tests.faults.harness.dump import Dump, Record
from tests.faults.harness.history import Entry, What
from tests.faults.harness.lives import Life, lives
from tests.faults.keys.crowding import crowds, stalls
from tests.faults.keys.idleness import Idle, idle_times
from tests.faults.keys.revisions import Key, Revision, Slot, admitted_beyond, lost_updates, slots_beyond
from tests.faults.keys.starvation import starved_seconds

__all__ = ["Audit", "Told", "audit"]

_SECOND: Final = 1_000_000_000
_TOLERANCE: Final = _SECOND // 100
"""Between the server's clock and the one of the history, which are of one machine and are compared once."""
_SHOWN: Final = 5
_NO_LIFE: Final = Life()


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """Everything that is known of a scenario. Every instant is in nanoseconds of CLOCK_MONOTONIC."""

    history: Sequence[Entry]
    dump: Dump
    revisions: Sequence[Revision]
    limits: Mapping[str, tuple[int, int]]
    """For each queue, how many jobs of a key may be active, and how many may wait then."""
    lease: int
    ack_wait: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What became of a scenario. Every tuple of texts names what broke a promise."""

    verdict: Verdict
    """On the promises to jobs."""
    keys: int
    kills: int
    takeovers: int
    stalls: int
    """How often a worker's event loop did not run for longer than its owner's margin, frozen ones too."""
    rejected: int
    coalesced: int
    replaced: int
    unborn: int
    """Submissions that were answered with a job whose creator then died before it was stored."""
    starved: float
    """Seconds of which the machine starved the worst-off process."""
    longest_idle: float
    """Seconds for which a key had work and no handler, without the server's outages and what processes were starved of."""
    crowds: tuple[str, ...]
    """Moments at which more handlers of a key ran than may."""
    slots_beyond: tuple[str, ...]
    admitted_beyond: tuple[str, ...]
    lost_updates: tuple[str, ...]
    without_slot: tuple[str, ...]
    """Tries that began before they had a slot."""
    left_slots: tuple[str, ...]
    left_entries: tuple[str, ...]
    idle: tuple[str, ...]
    """Keys that stood still for too long although they had work."""
    not_skipped: tuple[str, ...]
    """Replaced jobs that did not end as skipped, and skipped jobs that were not replaced."""
    badly_coalesced: tuple[str, ...]
    """Submissions that were answered with a job that never was, or had ended before."""

    def violations(self) -> dict[str, tuple[str, ...]]:
        """Return each broken promise with what broke it."""
        names = (
            *("crowds", "slots_beyond", "admitted_beyond", "lost_updates", "without_slot"),
            *("left_slots", "left_entries", "idle", "not_skipped", "badly_coalesced"),
        )
        broken: dict[str, tuple[str, ...]] = {name: getattr(self, name) for name in names}
        return {name: by for name, by in (self.verdict.violations() | broken).items() if by}

    def __str__(self) -> str:
        found = {name: (len(by), *by[:_SHOWN]) for name, by in self.violations().items()}
        it = self.verdict
        return (
            f"{it.accepted} jobs of {it.attempted} submissions, {self.keys} keys, {self.kills} kills, "
            f"{self.takeovers} takeovers, {self.stalls} stalls, ends {dict(it.ends)}, {self.rejected} rejected, "
            f"{self.coalesced} coalesced, {self.replaced} replaced, {it.unknown} unknown ({it.recovered} recovered), "
            f"{self.unborn} answered with unborn jobs, {it.again} again, {it.duplicates} duplicates, "
            f"starved {self.starved:.0f} s, longest idle {self.longest_idle:.1f} s; violations: {found or 'none'}"
        )


def audit(told: Told) -> Audit:
    """Judge a scenario."""
    history, records, stored = told.history, told.dump.records, told.revisions
    verdict = check(history, told.dump, stalls=_long_stalls(history, told.ack_wait))
    keys = _keys(history)
    lived = lives(records)
    idle = idle_times(history, verdict.runs, records, keys, lease=told.lease, ack_wait=told.ack_wait)
    newest = {each.key: each for each in stored}
    answers = _Answers(history)
    unborn, badly = _coalesced(answers, records, lived, keys)
    return Audit(
        verdict=verdict,
        keys=len(newest),
        kills=sum(entry.what is What.KILLED for entry in history),
        stalls=len(stalls(history)),
        takeovers=sum(each.takeovers for each in newest.values()),
        rejected=answers.rejected,
        coalesced=len(answers.coalesced),
        replaced=len(answers.replaced),
        unborn=unborn,
        starved=starved_seconds(history),
        longest_idle=max((each.counted for each in idle), default=0) / _SECOND,
        crowds=tuple(crowds(history, verdict.runs, keys, told.limits, lease=told.lease)),
        slots_beyond=tuple(slots_beyond(stored, told.limits)),
        admitted_beyond=tuple(admitted_beyond(stored, told.limits)),
        lost_updates=tuple(lost_updates(stored)),
        without_slot=tuple(_without_slot(records, stored)),
        left_slots=tuple(f"{key}: {each.active}" for key, each in newest.items() if each.active),
        left_entries=tuple(f"{key}: {each.queued}" for key, each in newest.items() if each.queued),
        idle=tuple(map(_told_idle, (each for each in idle if each.is_too_long))),
        not_skipped=tuple(_not_skipped(answers, records, lived, keys)),
        badly_coalesced=badly,
    )


def _long_stalls(history: Sequence[Entry], ack_wait: int) -> dict[int, list[tuple[int, int]]]:
    """Return by process when it stood still for so long that the server may have redelivered its messages.

    Its last progress ack may be as old as the interval between two of them: a third of the ack wait.
    """
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for entry, since in stalls(history):
        if entry.at - since > ack_wait * 2 // 3:
            found[entry.pid].append((since, entry.at))
    return found


class _Answers:
    """What submitters were answered."""

    def __init__(self, history: Iterable[Entry]) -> None:
        self.rejected = 0
        self.coalesced: list[tuple[str, int, str]] = []
        """The job that was not stored, when it was submitted, and the one that stands for it."""
        self.replaced: dict[str, str] = {}
        """The newer job of each one that was replaced."""
        submitted: dict[str, int] = {}
        for entry in history:
            if entry.what is What.SUBMIT:
                submitted[entry.job] = entry.at
            elif existing := entry.text("coalesced"):
                self.coalesced.append((entry.job, submitted[entry.job], existing))
            elif entry.text("rejected"):
                self.rejected += 1
            elif replaced := entry.text("replaced"):
                self.replaced[replaced] = entry.job


def _keys(history: Iterable[Entry]) -> dict[str, Key]:
    """Return the key of each job that was submitted."""
    return {
        entry.job: (entry.text("queue"), entry.text("key")) for entry in history if entry.what is What.SUBMIT
    }


def _without_slot(records: Iterable[Record], stored: Iterable[Revision]) -> Iterator[str]:
    taken: dict[Slot, int] = {}
    for each in stored:
        for slot in each.active:
            taken.setdefault(slot, each.at)
    for record in records:
        if (
            record.event == "started"
            and not taken.get((record.job, record.tries), record.at + 1) <= record.at
        ):
            yield f"{record.job} try {record.tries}"


def _not_skipped(
    answers: _Answers, records: Iterable[Record], lived: Mapping[str, Life], keys: Mapping[str, Key]
) -> Iterator[str]:
    for replaced in answers.replaced:
        end = lived.get(replaced, _NO_LIFE).end
        if end != "skipped":
            yield f"{replaced} was replaced and is {end or 'without an end'}"
    for record in records:
        if record.event == "skipped" and record.error.rpartition(" ")[2] not in keys:
            yield f"{record.job}: {record.error}"


def _coalesced(
    answers: _Answers, records: Iterable[Record], lived: Mapping[str, Life], keys: Mapping[str, Key]
) -> tuple[int, tuple[str, ...]]:
    ended: dict[str, int] = {}
    for record in records:
        if lived[record.job].end == record.event:
            ended.setdefault(record.job, record.at)
    unborn, badly = 0, list[str]()
    for job, submitted, existing in answers.coalesced:
        if keys.get(existing) != keys[job]:
            badly.append(f"{job}: {existing} is not of its key")
        elif existing not in lived:
            unborn += 1
        elif ended.get(existing, submitted) < submitted - _TOLERANCE:
            badly.append(f"{job}: {existing} had ended")
    return unborn, tuple(badly)


def _told_idle(idle: Idle) -> str:
    return f"{idle.key} from {idle.since} for {idle.counted / _SECOND:.1f} s, allowed {idle.allowed / _SECOND:.1f} s"
