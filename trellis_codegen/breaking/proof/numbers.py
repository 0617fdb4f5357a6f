"""Numbers of a kind: its bounds as multiples of its step, values at its edges, and whether it takes a number."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.proof.kinds import Number

__all__ = [
    "Range",
    "find_step",
    "list_numbers",
    "takes_number",
    "tighten",
    "write_number",
]

_LARGE: Final = 2**70
"""No runtime's integer holds it; JSON does."""

_LARGEST_FLOAT: Final = Fraction(sys.float_info.max)
"""Models read a number as a float: a larger integer is infinite."""
_PRECISION: Final = 1e9
"""pydantic's precision for multiples of floats."""


@dataclass(frozen=True, slots=True)
class Range:
    """The bounds of a number."""

    low: Fraction | None
    high: Fraction | None
    low_open: bool
    high_open: bool

    @property
    def is_empty(self) -> bool:
        """Whether no number is between the bounds."""
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def holds(self, other: Range) -> bool:
        """Return whether every number of another range is in this one."""
        return self._holds_low(other) and self._holds_high(other)

    def _holds_low(self, other: Range) -> bool:
        if self.low is None:
            return True
        if other.low is None or other.low < self.low:
            return False
        return other.low > self.low or other.low_open or not self.low_open

    def _holds_high(self, other: Range) -> bool:
        if self.high is None:
            return True
        if other.high is None or other.high > self.high:
            return False
        return other.high < self.high or other.high_open or not self.high_open


def find_step(kind: Number) -> Fraction | None:
    """Return what every number of a kind is a multiple of."""
    if kind.whole:
        return kind.step if kind.step is not None and kind.step.denominator == 1 else Fraction(1)
    return kind.step


def tighten(kind: Number) -> Range:
    """Return the bounds of a kind; with a step, the smallest and the largest multiple."""
    low, high, low_open, high_open = kind.low, kind.high, kind.low_open, kind.high_open
    step = find_step(kind)
    if step is not None and low is not None:
        first = math.ceil(low / step) * step
        low, low_open = first + step if low_open and first == low else first, False
    if step is not None and high is not None:
        last = math.floor(high / step) * step
        high, high_open = last - step if high_open and last == high else last, False
    return Range(low, high, low_open, high_open)


def takes_number(kind: Number, value: float) -> bool:
    """Return whether the model reads a number."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    exact = Fraction(str(value))
    if not kind.whole and abs(exact) > _LARGEST_FLOAT:
        return False
    if kind.whole and exact.denominator != 1:
        return False
    if kind.step is not None and not _is_multiple(value, exact, kind):
        return False
    return Range(kind.low, kind.high, kind.low_open, kind.high_open).holds(Range(exact, exact, False, False))


def _is_multiple(value: float, exact: Fraction, kind: Number) -> bool:
    """Return whether a number is a multiple of the step; of floats, pydantic takes what is close to one."""
    if kind.step is None or exact % kind.step == 0:
        return True
    if kind.whole:
        return False
    step, number = float(kind.step), float(value)
    rest, tolerance = math.fmod(number, step), abs(number) / _PRECISION
    return abs(rest) <= tolerance or abs(abs(rest) - step) <= tolerance


def write_number(exact: Fraction) -> JsonValue:
    """Return a number as JSON has it."""
    return exact.numerator if exact.denominator == 1 else float(exact)


def list_numbers(kind: Number, hints: Iterable[Fraction] = ()) -> Iterator[JsonValue]:
    """Yield numbers of a kind: 0 if it has that, and those at its edges and near the hints."""
    bounds = tighten(kind)
    step = find_step(kind) or Fraction(1, 2)
    edges = [edge for edge in (bounds.low, bounds.high) if edge is not None]
    tried = [Fraction(0), Fraction(1)]
    for edge in edges:
        tried += [edge, edge + step, edge - step, edge + step / 2, edge - step / 2]
    if bounds.low is not None and bounds.high is not None:
        tried.append((bounds.low + bounds.high) / 2)
    for hint in hints:
        tried += [hint, *_list_steps_around(hint, step)]
    tried += [step, -step, step / 2, Fraction(-1), Fraction(1, 2), Fraction(3, 2), Fraction(_LARGE)]
    for exact in dict.fromkeys(tried):
        if exact.denominator != 1 and abs(exact) > _LARGEST_FLOAT:
            continue
        value = write_number(exact)
        if isinstance(value, int | float) and takes_number(kind, value):
            yield value


def _list_steps_around(hint: Fraction, step: Fraction) -> list[Fraction]:
    below = math.floor(hint / step) * step
    half = Fraction(1, 2)
    return [below, below + step, below - step, below + 2 * step, hint - 1, hint + 1, hint - half, hint + half]
