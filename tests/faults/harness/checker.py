"""Judges a scenario by its history and by what the server has stored at its end. Pure.

The classes are those of Jepsen's queue checker (attempted, acknowledged, recovered, unknown, lost by place, duplicated,
unexpected), and the invariants those of faults.md, D.2.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.harness.dump import Dump
from tests.faults.harness.handlings import AWAKE, Handling, crowded, handlings, overlaps, were_cut_off
from tests.faults.harness.history import Entry, What
from tests.faults.harness.lives import Life, lives
from tests.faults.harness.signs import silent

__all__ = ["Lost", "Verdict", "check"]

_NO_LIFE = Life()
_SHOWN = 5
"""Of the jobs of a violation, in a message."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Accepted jobs without a beginning or an end, by their place among the accepted ones."""

    prefix: tuple[str, ...] = ()
    """Before every job that was not lost."""
    middle: tuple[str, ...] = ()
    """Between jobs that were not lost: the worst, since nothing explains it."""
    postfix: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All of them."""
        return self.prefix + self.middle + self.postfix


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of a scenario's jobs. Every tuple of texts names jobs that broke a promise."""

    attempted: int
    accepted: int
    unknown: int
    """Whose `create` raised an error after which they may exist."""
    recovered: int
    """Unknown ones that exist."""
    terminal: int
    """Jobs that have an end."""
    duplicates: int
    """Handlings of jobs whose handler had returned before."""
    again: int
    """Handlings of jobs whose handler had been killed or interrupted before."""
    wanted: int
    """Handlings after one that raised: retries as they are meant."""
    again_delivered: int
    """Deliveries of a message beyond its first."""
    cut_off_overlaps: int
    """Pairs of handlings at the same time, the first one in a process that stood still or reached no server."""
    ends: Counter[str]
    """How many jobs had each end."""
    end_tries: Counter[int]
    """How many jobs ended in their first, second, … try."""
    lost: Lost
    ended_twice: tuple[str, ...]
    unexpected: tuple[str, ...]
    """Jobs that exist or were handled, and were never submitted, or whose submission was refused."""
    overlapping: tuple[str, ...]
    """Handled twice at the same time, although the first process was alive and reached the server."""
    wrong_tries: tuple[str, ...]
    began_after_end: tuple[str, ...]
    unrecorded: tuple[str, ...]
    """Handled in a try of which no `started` is stored."""
    wrong_end: tuple[str, ...]
    """Ended otherwise than the scenario says they may."""
    ran_after_cancel: tuple[str, ...]
    not_cancelled: tuple[str, ...]
    """Whose cancellation was confirmed, and that ended otherwise."""
    left: tuple[str, ...]
    """Whose work message is still there."""
    crowded: tuple[str, ...]
    """Processes with more handlers at a time than they may have."""
    never_ran: tuple[str, ...]
    """Completed without a handler that returned."""
    silent: tuple[str, ...]
    """Faults, not jobs, of which no worker logged anything that tells an operator of them."""
    runs: tuple[Handling, ...] = field(repr=False)

    def violations(self) -> dict[str, tuple[str, ...]]:
        """Return each broken promise with what broke it."""
        names = (
            *("ended_twice", "unexpected", "overlapping", "wrong_tries", "began_after_end", "unrecorded"),
            *("wrong_end", "ran_after_cancel", "not_cancelled", "left", "crowded", "never_ran"),
            "silent",
        )
        broken: dict[str, tuple[str, ...]] = {name: getattr(self, name) for name in names}
        broken["lost"] = self.lost.all
        return {name: by for name, by in broken.items() if by}

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept that holds whatever fails."""
        return not self.violations()

    @property
    def is_quiet(self) -> bool:
        """Whether it is also as if nothing had failed: every job was delivered once and handled once."""
        return self.is_clean and not (self.duplicates or self.again or self.again_delivered)

    def __str__(self) -> str:
        found = {name: (len(by), *by[:_SHOWN]) for name, by in self.violations().items()}
        return (
            f"{self.accepted} accepted of {self.attempted}, {self.unknown} unknown ({self.recovered} recovered), "
            f"ends {dict(self.ends)}, tries {dict(sorted(self.end_tries.items()))}, {self.duplicates} duplicates, "
            f"{self.again} again, {self.wanted} wanted again, {self.again_delivered} delivered again, "
            f"{self.cut_off_overlaps} overlaps while cut off; violations: {found or 'none'}"
        )


def check(
    history: Sequence[Entry], dump: Dump, *, stalls: Mapping[int, Sequence[tuple[int, int]]] | None = None
) -> Verdict:
    """Judge a scenario. `stalls`: when the machine let a process, by its number, stand still for long enough to lose its jobs."""
    runs = handlings(history)
    stored = lives(dump.records)
    of_job: dict[str, list[Handling]] = defaultdict(list)
    for run in runs:
        of_job[run.job].append(run)
    said = _Said(history)
    after = Counter(_after(run, its[:number]) for its in of_job.values() for number, run in enumerate(its))
    excused, overlapping = _overlapping(history, of_job.values(), stalls or {})
    handled = {(run.job, run.tries) for run in runs}
    ended = {job: life for job, life in stored.items() if life.end}
    returned = {run.job for run in runs if run.how == "returned"}

    def life(job: str) -> Life:
        return stored.get(job, _NO_LIFE)

    return Verdict(
        attempted=len(said.ends),
        accepted=len(said.accepted),
        unknown=len(said.unknown),
        recovered=sum(life(job).created for job in said.unknown),
        terminal=len(ended),
        duplicates=after["returned"],
        again=after["cut short"],
        wanted=after["raised"],
        again_delivered=dump.again,
        cut_off_overlaps=excused,
        ends=Counter(each.end for each in ended.values()),
        end_tries=Counter(each.end_tries for each in ended.values()),
        lost=_lost(said.accepted, (job for job, each in ended.items() if each.created)),
        ended_twice=_those(stored, lambda each: each.ended_again),
        unexpected=tuple(sorted((stored.keys() | of_job.keys()) - (said.ends.keys() - said.refused))),
        overlapping=overlapping,
        wrong_tries=_those(stored, lambda each: each.wrong_tries),
        began_after_end=_those(stored, lambda each: each.began_after_end),
        unrecorded=tuple(sorted({job for job, tries in handled if tries not in life(job).began})),
        wrong_end=tuple(
            job for job, right in said.ends.items() if right and life(job).end not in {*right, ""}
        ),
        ran_after_cancel=tuple(job for job in said.cancelled if of_job[job] and not life(job).began),
        not_cancelled=tuple(job for job in said.cancelled if life(job).end != "cancelled"),
        left=dump.work,
        crowded=tuple(crowded(history, runs)),
        never_ran=tuple(
            job for job, each in ended.items() if each.end == "completed" and job not in returned
        ),
        silent=tuple(silent(history)),
        runs=tuple(runs),
    )


class _Said:
    """What the submitting and cancelling side wrote down."""

    def __init__(self, history: Iterable[Entry]) -> None:
        self.ends: dict[str, tuple[str, ...]] = {}
        self.accepted: list[str] = []
        self.refused: set[str] = set()
        self.cancelled: list[str] = []
        unknown: list[str] = []
        for entry in history:
            match entry.what:
                case What.SUBMIT:
                    right = entry.facts.get("ends")
                    self.ends[entry.job] = tuple(map(str, right)) if isinstance(right, list) else ()
                case What.ACCEPTED:
                    self.accepted.append(entry.job)
                case What.REFUSED:
                    self.refused.add(entry.job)
                case What.UNKNOWN:
                    unknown.append(entry.job)
                case What.CANCELLED:
                    self.cancelled.append(entry.job)
                case _:
                    continue
        accepted = set(self.accepted)
        self.refused -= accepted
        self.unknown = [job for job in dict.fromkeys(unknown) if job not in accepted]


def _after(run: Handling, before: Sequence[Handling]) -> str:
    """Say what the earlier handlings of its job make of a handling."""
    if not before:
        return "first"
    if any(each.how == "returned" for each in before):
        return "returned"
    newest = max(before, key=lambda each: each.enter)
    return "raised" if newest.how == "raised" and newest.end <= run.enter else "cut short"


def _overlapping(
    history: Sequence[Entry],
    of_jobs: Iterable[Sequence[Handling]],
    stalls: Mapping[int, Sequence[tuple[int, int]]],
) -> tuple[int, tuple[str, ...]]:
    """Count the overlaps that a cut-off process excuses, and name the jobs of the others.

    It may have been stopped just before its handler's first line, and runs that before it learns that the job is lost.
    """
    away = were_cut_off(history)
    for pid, times in stalls.items():
        away.setdefault(pid, []).extend(times)
    excused, found = 0, list[str]()
    for its in of_jobs:
        for first, second in overlaps(its):
            if any(
                since < second.enter and first.enter < until + AWAKE
                for since, until in away.get(first.pid, ())
            ):
                excused += 1
            else:
                found.append(first.job)
    return excused, tuple(dict.fromkeys(found))


def _lost(accepted: Sequence[str], ended: Iterable[str]) -> Lost:
    safe = set(ended)
    kept = [number for number, job in enumerate(accepted) if job in safe]
    if not kept:
        return Lost(prefix=tuple(accepted))
    return Lost(
        prefix=tuple(accepted[: kept[0]]),
        middle=tuple(job for job in accepted[kept[0] : kept[-1]] if job not in safe),
        postfix=tuple(accepted[kept[-1] + 1 :]),
    )


def _those(stored: dict[str, Life], broke: Callable[[Life], bool]) -> tuple[str, ...]:
    return tuple(job for job, life in stored.items() if broke(life))
