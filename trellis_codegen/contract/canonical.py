"""Canonical JSON: one text for one value, as the Rust tool of Trellis writes it.

No white space, members sorted by code point, strings with the fewest escapes, numbers as Rust prints them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

from pydantic import JsonValue

__all__ = ["canonical_json", "indented_json"]

_INTEGERS = range(-(2**63), 2**64)
_FIRST_EXPONENT_DIGIT, _LAST_PLAIN_DIGIT = -5, 16
_INDENT = "  "


def canonical_json(value: JsonValue) -> str:
    """Return the canonical text of `value`.

    Raises:
        ValueError: a number is not finite.
    """
    match value:
        case None | bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case int() if value in _INTEGERS:
            return str(value)
        case int() | float():
            return _float_text(float(value))
        case Mapping():
            members = (f"{canonical_json(key)}:{canonical_json(value[key])}" for key in sorted(value))
            return "{" + ",".join(members) + "}"
        case Sequence():
            return "[" + ",".join(canonical_json(item) for item in value) + "]"


def indented_json(value: JsonValue, margin: str = "\n") -> str:
    """Return the text of `value` with a line for each member and element, for people and for git.

    Members keep their order; strings and numbers are written as in canonical JSON. `margin` starts each line after the first.

    Raises:
        ValueError: a number is not finite.
    """
    inner = margin + _INDENT
    match value:
        case Mapping() if value:
            members = (f"{canonical_json(key)}: {indented_json(value[key], inner)}" for key in value)
            return "{" + inner + f",{inner}".join(members) + margin + "}"
        case list() if value:
            return "[" + inner + f",{inner}".join(indented_json(item, inner) for item in value) + margin + "]"
        case _:
            return canonical_json(value)


def _float_text(number: float) -> str:
    """Print a float like Rust's ryu: the fewest digits, an exponent only below 1e-5 and from 1e16 on."""
    if not math.isfinite(number):
        raise ValueError(f"{number} has no canonical text")
    sign, digit_tuple, exponent = Decimal(repr(number)).as_tuple()
    digits = "".join(map(str, digit_tuple)).rstrip("0") or "0"
    point = len(digit_tuple) + int(exponent)
    prefix = "-" if sign else ""
    if digits == "0":
        return f"{prefix}0.0"
    if _FIRST_EXPONENT_DIGIT < point <= 0:
        return f"{prefix}0.{'0' * -point}{digits}"
    if 0 < point <= _LAST_PLAIN_DIGIT:
        return f"{prefix}{digits[:point].ljust(point, '0')}.{digits[point:] or '0'}"
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{prefix}{digits[0]}{fraction}e{point - 1}"
