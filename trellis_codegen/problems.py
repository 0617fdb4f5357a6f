"""The problems of a contract: values that the rules return and the command line prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

__all__ = [
    "Pointer",
    "Problem",
    "ProblemsFound",
    "Severity",
    "closest",
    "did_you_mean",
    "json_pointer",
    "place",
]

Pointer: TypeAlias = tuple[str | int, ...]
"""The path from the document's root to a value: names of members and indexes of elements."""


_STEPS_SHOWN = 24
_LENGTHS_APART = 2
_CANDIDATES = 500
"""With more candidates, the comparison takes longer than the hint is worth."""


class Severity(StrEnum):
    """How bad a problem is."""

    ERROR = "error"
    """Nothing is generated."""
    WARNING = "warning"
    """The package is generated, but a part of the contract is missing or changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One message for the author of a contract."""

    pointer: Pointer
    """The faulty value."""
    rule: str
    """The id of what it is about, such as `unknown-schema`."""
    what: str
    """One clause, lower case, without a full stop; values are quoted."""
    hint: str | None = None
    """How to fix it, if that is known."""
    on_key: bool = False
    """Whether the name of the value is faulty, not the value itself; the position is then that of the name."""
    severity: Severity = Severity.ERROR
    line: int | None = None
    """Counted from 1; None until the problem has been located in the source."""
    column: int | None = None
    """Counted from 1, in characters."""


class ProblemsFound(Exception):
    """A contract is invalid; has every problem that was found."""

    def __init__(self, problems: Iterable[Problem], *, unchecked: Iterable[Pointer] = ()) -> None:
        self.problems = tuple(problems)
        self.unchecked = tuple(unchecked)
        """The parts of the contract that have no form the rules could check; the root, if that is all of it."""
        super().__init__("; ".join(problem.what for problem in self.problems))


def place(pointer: Pointer) -> str:
    """Return a pointer in a readable form: `jobs/reserve-inventory/payload`, without the `schema` of a reference."""
    steps = pointer[:-1] if len(pointer) > 1 and pointer[-1] == "schema" else pointer
    if len(steps) > _STEPS_SHOWN:
        steps = (*steps[: _STEPS_SHOWN - 1], "…")
    return "/".join(str(step) for step in steps)


def json_pointer(pointer: Pointer) -> str:
    """Return a pointer as RFC 6901 writes it: `/jobs/reserve-inventory/payload/schema`; empty for the document."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in pointer)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a hint that names what `name` resembles most, or None when it resembles nothing."""
    match = closest(name, known)
    return None if match is None else f'did you mean "{match}"?'


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` resembles most, whatever the case of its letters."""
    near = [*known]
    if len(near) > _CANDIDATES:
        near = [candidate for candidate in near if abs(len(candidate) - len(name)) <= _LENGTHS_APART]
    if len(near) > _CANDIDATES:
        return None
    import difflib  # noqa: PLC0415 - only a mistake needs it

    candidates = {candidate.casefold(): candidate for candidate in sorted(near, reverse=True)}
    matches = difflib.get_close_matches(name.casefold(), candidates, n=1)
    return candidates[matches[0]] if matches else None
