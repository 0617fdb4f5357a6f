"""The filter of the audit log: `actor:`, `action:`, `kind:`, `outcome:` and `since:`, and bare words. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from itertools import product
from typing import Final

from trellis_nats import TrellisError
from trellis_nats.clock import parse_timestamp

from trellis_admin.audit_log.records import Action, AuditRecord, Kind, Outcome, Phase, subject_filter

__all__ = ["AuditFilter", "AuditFilterProblem", "parse_audit_filter"]

_WORDS: Final = ("actor", "action", "kind", "outcome", "since")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE: Final = re.compile(r"-?(\d{1,6})([smhdw])")
RUNNING: Final = "running"
_OUTCOMES: Final = (*(phase for phase in Phase if phase is not Phase.BEGAN), RUNNING)
_REFUSALS: Final = (Phase.REFUSED, Phase.DENIED)
_ACTS: Final = (Phase.BEGAN, Phase.DENIED)
"""What an entry begins with."""


class AuditFilterProblem(TrellisError):
    """A filter that cannot be read. The text says what it should be."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted. Where a field is empty, it wants all."""

    actors: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    kinds: tuple[Kind, ...] = ()
    outcomes: tuple[str, ...] = ()
    """Values of `Phase`, or `running` for what has not ended."""
    since: datetime | None = None
    words: tuple[str, ...] = ()
    """All of them must occur in the reason, the target or the id, whatever their case."""

    @property
    def subjects(self) -> list[str]:
        """The subjects of the records that may match: the server leaves out the others."""
        only_refusals = self.outcomes and set(self.outcomes) <= set(_REFUSALS)
        phases = self.outcomes if only_refusals else _ACTS
        return [
            subject_filter(kind, action, phase=phase)
            for kind, action, phase in product(self.kinds or "*", self.actions or "*", phases)
        ]

    def matches(self, record: AuditRecord) -> bool:
        """Return whether a record is wanted, whatever its outcome."""
        if self.actors and record.actor.casefold() not in map(str.casefold, self.actors):
            return False
        if self.since is not None and record.at < self.since:
            return False
        text = f"{record.id} {record.reason} {' '.join(map(str, record.target.values()))}".casefold()
        return all(word.casefold() in text for word in self.words)

    def wants(self, outcome: Outcome | None) -> bool:
        """Return whether an outcome is wanted; None: the action runs."""
        return not self.outcomes or (RUNNING if outcome is None else outcome.phase) in self.outcomes


def parse_audit_filter(text: str, now: datetime) -> AuditFilter:
    """Read a filter such as `actor:oncall-eu action:replay,dismiss since:7d INC-2287`.

    `since` takes an age (`30m`, `12h`, `7d`) or an instant (`2026-11-29`, `2026-11-29T14:00:00Z`), which is made absolute here.

    Raises:
        AuditFilterProblem: it has an unknown word or a value that cannot be read.
    """
    given: dict[str, list[str]] = {word: [] for word in _WORDS}
    words: list[str] = []
    for part in _split(text):
        name, colon, value = part.partition(":")
        if not colon or not name.isalpha():
            words.append(part)
        elif name not in given:
            raise AuditFilterProblem(f'"{name}:" is not a word of the audit filter{_suggest(name, _WORDS)}')
        elif not value:
            raise AuditFilterProblem(f'"{name}:" needs a value, as in {name}:{_example(name)}')
        else:
            given[name] += [one for one in value.split(",") if one]
    since = [_read_since(value, now) for value in given["since"]]
    return AuditFilter(
        actors=tuple(given["actor"]),
        actions=tuple(Action(_choose("action", value, list(Action))) for value in given["action"]),
        kinds=tuple(Kind(_choose("kind", value, list(Kind))) for value in given["kind"]),
        outcomes=tuple(_choose("outcome", value, _OUTCOMES) for value in given["outcome"]),
        since=max(since, default=None),
        words=tuple(words),
    )


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise AuditFilterProblem(f"the filter has a quote without its end: {text:.100}") from error


def _choose(name: str, value: str, known: list[Action] | list[Kind] | tuple[str, ...]) -> str:
    if value in known:
        return value
    raise AuditFilterProblem(f"{name}:{value} is not known{_suggest(value, [str(one) for one in known])}")


def _suggest(value: str, known: list[str] | tuple[str, ...]) -> str:
    close = get_close_matches(value, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; it is one of {', '.join(known)}"


def _example(name: str) -> str:
    return {"actor": "oncall-eu", "action": "replay", "kind": "bulk", "outcome": "refused", "since": "7d"}[
        name
    ]


def _read_since(value: str, now: datetime) -> datetime:
    age = _AGE.fullmatch(value)
    try:
        if age is not None:
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        return parse_timestamp(value if "T" in value else f"{value}T00:00:00Z")
    except (ValueError, OverflowError):
        raise AuditFilterProblem(
            f"since:{value} is neither an age, as in since:7d, nor an instant, as in since:2026-11-29T14:00:00Z"
        ) from None
