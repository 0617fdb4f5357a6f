"""Texts for the templates: arguments in Python, docstrings from docs, durations in English."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trellis_codegen.contract.parts import Docs

__all__ = [
    "Argument",
    "choose_text",
    "describe",
    "describe_capabilities",
    "describe_duration",
    "describe_errors",
    "write_call",
    "write_duration",
    "write_durations",
    "write_tuple",
]

_SECOND = 1000
_CODE_UNITS = (
    ("days", 86_400_000),
    ("hours", 3_600_000),
    ("minutes", 60_000),
    ("seconds", 1000),
    ("milliseconds", 1),
)
_WORD_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """A keyword argument in generated code."""

    name: str
    value: str
    """Python text."""
    uses: frozenset[str] = frozenset()
    """The names in the value that need an import from outside the package."""


def choose_text(docs: Docs | None, otherwise: str) -> str:
    """Return a docstring's text: the summary, then the explanation."""
    if docs is None:
        return otherwise
    return (
        "\n\n".join(part.strip() for part in (docs.summary, docs.markdown) if part and part.strip())
        or otherwise
    )


def describe(docs: Docs | None, otherwise: str, *sentences: str | None) -> str:
    """Return a docstring's text: that of the contract, then what its numbers mean."""
    numbers = " ".join(sentence for sentence in sentences if sentence)
    return "\n\n".join(part for part in (choose_text(docs, otherwise), numbers) if part)


def describe_errors(classes: Iterable[str]) -> str | None:
    """Name the errors that a call declares; None if there are none."""
    names = ", ".join(f"`{name}`" for name in classes)
    return f"Declared errors: {names}." if names else None


def describe_capabilities(names: Iterable[str] | None) -> str | None:
    """Name the capabilities that callers must hold; None if they need none."""
    shown = [f"`{name}`" for name in names or ()]
    return (
        f"Callers need the capabilit{'ies' if len(shown) > 1 else 'y'} {', '.join(shown)}." if shown else None
    )


def write_duration(name: str, milliseconds: int) -> Argument:
    """Return an argument that is a duration: `timedelta(minutes=2)`, in the largest unit that leaves no remainder."""
    return Argument(name=name, value=_timedelta(milliseconds), uses=frozenset(["timedelta"]))


def write_durations(name: str, milliseconds: Iterable[int]) -> Argument:
    """Return an argument that is a tuple of durations."""
    steps = write_tuple(name, map(_timedelta, milliseconds))
    return Argument(name=name, value=steps.value, uses=frozenset(["timedelta"]))


def write_call(name: str, callee: str, arguments: Iterable[Argument]) -> Argument:
    """Return an argument that is a call with keyword arguments."""
    given = [*arguments]
    text = ", ".join(f"{argument.name}={argument.value}" for argument in given)
    uses = frozenset(use for argument in given for use in argument.uses)
    return Argument(name=name, value=f"{callee}({text})", uses=uses | {callee})


def write_tuple(name: str, elements: Iterable[str]) -> Argument:
    """Return an argument that is a tuple of Python expressions."""
    texts = [*elements]
    return Argument(name=name, value=f"({', '.join(texts)}{',' * (len(texts) == 1)})")


def _timedelta(milliseconds: int) -> str:
    if not milliseconds:
        return "timedelta()"
    unit, size = next(pair for pair in _CODE_UNITS if milliseconds % pair[1] == 0)
    return f"timedelta({unit}={milliseconds // size})"


def describe_duration(milliseconds: int) -> str:
    """Return a duration in words: `2 min`, `90 s`, `1.5 s`."""
    if not milliseconds:
        return "0 s"
    if milliseconds > _SECOND and milliseconds % _SECOND:
        return f"{milliseconds / _SECOND:g} s"
    unit, size = next(pair for pair in _WORD_UNITS if milliseconds % pair[1] == 0)
    return f"{milliseconds // size} {unit}"
