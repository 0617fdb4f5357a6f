"""The grades of changes, the parties that break, and the directions in which values fail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = [
    "SURFACES",
    "Column",
    "Deploy",
    "Direction",
    "Grade",
    "Hit",
    "SurfaceKind",
    "describe_columns",
    "sort_columns",
]


class Grade(StrEnum):
    """How bad a change is."""

    BREAK = "break"
    """Whatever the order of deploys, something that exists today fails or is lost."""
    RISKY = "risky"
    """Nothing fails if the stated order is kept, or it depends on what the contract does not say."""
    SAFE = "safe"

    @property
    def weight(self) -> int:
        """A number that is larger for a worse grade."""
        return {Grade.SAFE: 0, Grade.RISKY: 1, Grade.BREAK: 2}[self]


class Column(StrEnum):
    """A party that breaks."""

    PRODUCERS = "producers"
    QUEUED = "queued"
    OLD_WORKERS = "old-workers"
    CALLERS = "callers"
    LISTENERS = "listeners"
    DEAD = "dead-jobs"
    STORED = "stored"
    OPERATORS = "operators"
    IMPORTERS = "importers"


_WORDS: Final = {
    Column.PRODUCERS: "old producers and callers",
    Column.QUEUED: "jobs already queued",
    Column.OLD_WORKERS: "old instances during the deploy",
    Column.CALLERS: "readers of answers",
    Column.LISTENERS: "listeners",
    Column.DEAD: "replays of dead jobs",
    Column.STORED: "stored values",
    Column.OPERATORS: "operators",
    Column.IMPORTERS: "code that imports the package",
}


class Direction(StrEnum):
    """Which contract wrote the value, and which reads it."""

    FORWARD = "old-to-new"
    BACKWARD = "new-to-old"
    BOTH = "both"


class Deploy(StrEnum):
    """How the new version is rolled out."""

    ROLLING = "rolling"
    """Old and new instances run side by side."""
    STOP = "stop"
    """All old instances stop before the first new one starts."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What a refused value of a surface does in one direction."""

    grade: Grade
    columns: tuple[Column, ...]
    only_during_deploy: bool = False
    """Whether it needs both versions to run, so that `--deploy stop` avoids it."""


@dataclass(frozen=True, slots=True)
class SurfaceKind:
    """A use of schemas, with what a refused value does in each direction."""

    prefix: str
    """The first part of the ids of its rules."""
    what: str
    """What the values are, in words."""
    forward: Hit
    backward: Hit
    has_upcasters: bool = False
    """Whether the new version can read old values through a function that its author registers."""


def _find_grade(name: str) -> Grade:
    return Grade.RISKY if name.startswith("~") else Grade.BREAK


_LETTERS: Final = {
    "P": Column.PRODUCERS,
    "Q": Column.QUEUED,
    "W": Column.OLD_WORKERS,
    "C": Column.CALLERS,
    "L": Column.LISTENERS,
    "D": Column.DEAD,
    "S": Column.STORED,
}


def _hit(letters: str) -> Hit:
    """Read `PQD`; `~W` is risky, and happens only while both versions run; `!W` breaks only while both run."""
    bare = letters.lstrip("~!")
    return Hit(_find_grade(letters), tuple(_LETTERS[letter] for letter in bare), bare != letters)


SURFACES: Final = {
    kind.prefix: kind
    for kind in (
        SurfaceKind("JOB_PAYLOAD", "the payload of a job", _hit("PQD"), _hit("~W"), has_upcasters=True),
        SurfaceKind("JOB_RESULT", "the result of a job", _hit("C"), _hit("~C")),
        SurfaceKind("JOB_UPDATE", "a live update of a job", _hit("~C"), _hit("~C")),
        SurfaceKind("RPC_INPUT", "the input of an RPC", _hit("P"), _hit("~W")),
        SurfaceKind("RPC_OUTPUT", "the output of an RPC", _hit("~C"), _hit("C")),
        SurfaceKind("ERROR_DATA", "the data of a declared error", _hit("~C"), _hit("C")),
        SurfaceKind("OPERATION_INPUT", "the input of an operation", _hit("PS"), _hit("~W")),
        SurfaceKind("OPERATION_OUTPUT", "the output of an operation", _hit("S"), _hit("C")),
        SurfaceKind("OPERATION_PROGRESS", "the progress of an operation", _hit("S"), _hit("C")),
        SurfaceKind("SIGNAL_INPUT", "the input of a signal", _hit("PS"), _hit("~W")),
        SurfaceKind("EVENT", "an event", _hit("L"), _hit("L")),
        SurfaceKind("FEED_INPUT", "the input of a feed", _hit("P"), _hit("~W")),
        SurfaceKind("FEED_EVENT", "an event of a feed", _hit("~L"), _hit("L")),
        SurfaceKind("KV_VALUE", "a value of a bucket", _hit("S"), _hit("!W")),
        SurfaceKind("STATE_VALUE", "a value of a state store", _hit("S"), _hit("W")),
    )
}
"""The surfaces, by the prefix of their rules."""


def sort_columns(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return columns without repeats, in the order of `Column`."""
    found = {*columns}
    return tuple(column for column in Column if column in found)


def describe_columns(columns: Iterable[Column]) -> str:
    """Return columns in words: `old producers and callers, stored values and operators`."""
    words = [_WORDS[column] for column in sort_columns(columns)]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or "readers"
