"""The lives of jobs, as stream JOBS has them, judged by the rules of the protocol. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.harness.dump import Record

__all__ = ["Life", "lives"]

# On purpose not the runtime's own list: the judge must not make the mistakes of the judged.
_ENDS: Final = frozenset(
    {"completed", "failed", "cancelled", "expired", "skipped", "stale", "dead", "dismissed"}
)


@dataclass(slots=True)
class Life:
    """What the events of one job say."""

    created: bool = False
    end: str = ""
    """The event that ended it; the first one, and after an operator's `retried` the first one after that."""
    end_tries: int = 0
    ended_again: bool = False
    """Whether a second event ended it."""
    began_after_end: bool = False
    """Whether a try began although the job had ended."""
    began: list[int] = field(default_factory=list[int])
    """The numbers of the tries that began, in their order."""
    wrong_tries: bool = False
    """Whether a try had another number than the one after the newest event's, or one above the most."""


def lives(records: Iterable[Record]) -> dict[str, Life]:
    """Return the life of each job."""
    events: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        events[record.job].append(record)
    return {job: _life(its) for job, its in events.items()}


def _life(records: Sequence[Record]) -> Life:
    life = Life()
    tries = 0
    most: int | None = None
    for record in records:
        most = record.max_tries or most
        if record.event == "created":
            life.created = True
        elif record.event == "retried":
            life.end = ""
        elif record.event == "started":
            life.began.append(record.tries)
            life.began_after_end |= bool(life.end)
            life.wrong_tries |= record.tries != tries + 1 or (most is not None and record.tries > most)
        elif record.event in _ENDS and (life.end, record.event) != ("dead", "dismissed"):
            life.ended_again |= bool(life.end)
            life.end = life.end or record.event
            life.end_tries = record.tries
        tries = record.tries
    return life
