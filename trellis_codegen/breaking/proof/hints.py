"""The boundary values of two kinds: what a value that shows a difference is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.proof.kinds import Kind, ListOf, Number, Object, Text, Tuple, Values, list_inner
from trellis_codegen.breaking.proof.pattern_texts import sample_pattern
from trellis_codegen.breaking.proof.texts import list_texts

__all__ = ["Hints", "collect_hints"]

_MOST_NODES: Final = 200
_MOST_TEXTS: Final = 40
_UNKNOWN: Final = ("x-other", "other", "9", "A")
"""Names that a schema hardly declares."""


@dataclass(slots=True)
class Hints:
    """Values from both sides, in their order."""

    numbers: dict[Fraction, None] = field(default_factory=dict[Fraction, None])
    texts: dict[str, None] = field(default_factory=dict[str, None])
    lengths: dict[int, None] = field(default_factory=dict[int, None])
    constants: list[JsonValue] = field(default_factory=list[JsonValue])
    names: dict[str, None] = field(default_factory=dict[str, None])
    nodes: int = 0


def collect_hints(*kinds: Kind) -> Hints:
    """Return the bounds, constants, lengths and names of kinds and of what is inside them, nearest first."""
    hints = Hints()
    seen: set[Kind] = set()
    pending = [*kinds]
    while pending and hints.nodes < _MOST_NODES:
        kind = pending.pop(0)
        if kind in seen:
            continue
        seen.add(kind)
        hints.nodes += 1
        pending += _collect(kind, hints)
    hints.names |= dict.fromkeys(_UNKNOWN)
    return hints


def _collect(kind: Kind, hints: Hints) -> list[Kind]:
    """Add what one kind says, and return the kinds inside it."""
    match kind:
        case Values(values=values):
            for value in values:
                _collect_constant(value, hints)
        case Number():
            hints.numbers |= dict.fromkeys(
                bound for bound in (kind.low, kind.high, kind.step) if bound is not None
            )
        case Text():
            _add_lengths(hints, kind.shortest, kind.longest)
            if len(hints.texts) < _MOST_TEXTS:
                hints.texts |= dict.fromkeys(list(list_texts(kind))[:6])
            if kind.pattern is not None:
                hints.texts |= dict.fromkeys(sample_pattern(kind.pattern)[:6])
        case ListOf() | Tuple():
            _collect_lengths(kind, hints)
        case Object():
            hints.names |= dict.fromkeys(kind.members)
            if kind.names is not None:
                hints.names |= dict.fromkeys(sample_pattern(kind.names)[:6])
        case _:
            pass
    return list_inner(kind)


def _collect_lengths(kind: ListOf | Tuple, hints: Hints) -> None:
    if isinstance(kind, Tuple):
        _add_lengths(hints, len(kind.positions), len(kind.positions))
    else:
        _add_lengths(hints, kind.shortest, kind.longest)


def _collect_constant(value: JsonValue, hints: Hints) -> None:
    hints.constants.append(value)
    match value:
        case bool():
            pass
        case int() | float():
            hints.numbers[Fraction(str(value))] = None
        case str():
            hints.texts |= dict.fromkeys([value, f"{value}x"])
            _add_lengths(hints, len(value), None)
        case _:
            pass


def _add_lengths(hints: Hints, low: int, high: int | None) -> None:
    edges = [low, *([] if high is None else [high])]
    hints.lengths |= dict.fromkeys(
        count for edge in edges for count in (edge, edge - 1, edge + 1) if count >= 0
    )
