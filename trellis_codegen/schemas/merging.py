"""Two schemas → one that accepts what both accept: the meaning of `allOf`, and of keywords next to a union."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.schemas.enum_filter import are_equal
from trellis_codegen.schemas.keywords import MERGEABLE

__all__ = ["CannotMerge", "merge"]

JsonObject: TypeAlias = dict[str, JsonValue]

_ALL_KINDS = ("array", "boolean", "integer", "null", "number", "object", "string")
_OBJECT_KEYWORDS = frozenset(["properties", "additionalProperties", "patternProperties"])
_ARRAY_KEYWORDS = frozenset(["items", "prefixItems", "additionalItems"])


class CannotMerge(Exception):
    """Two schemas cannot be expressed as one; the keyword is the message."""


def merge(one: JsonValue, other: JsonValue) -> JsonValue:
    """Return a schema for the values that match both; False when there are none. Descriptions of `other` win.

    Raises:
        CannotMerge: there may be such values, but no single schema describes them.
    """
    if one is False or other is False:
        return False
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other if not isinstance(one, dict) else one
    if ("$ref" in one or "$ref" in other) and (one.keys() & MERGEABLE and other.keys() & MERGEABLE):
        raise CannotMerge("$ref")
    result: JsonObject = {**one, **other}
    if not _merge_limits(one, other, result):
        return False
    if one.keys() & _OBJECT_KEYWORDS and other.keys() & _OBJECT_KEYWORDS:
        _merge_objects(one, other, result)
    if one.keys() & _ARRAY_KEYWORDS and other.keys() & _ARRAY_KEYWORDS:
        _merge_arrays(one, other, result)
    return result


def _merge_limits(one: JsonObject, other: JsonObject, result: JsonObject) -> bool:
    """Combine the keywords that both have; False when no value can match."""
    for keyword in one.keys() & other.keys():
        if keyword in _OBJECT_KEYWORDS | _ARRAY_KEYWORDS or are_equal(one[keyword], other[keyword]):
            continue
        if keyword in _RULES:
            combined = _RULES[keyword](one[keyword], other[keyword])
            if combined is None:
                return False
            result[keyword] = combined
        elif keyword in MERGEABLE:
            raise CannotMerge(keyword)
    return True


def _merge_objects(one: JsonObject, other: JsonObject, result: JsonObject) -> None:
    """Apply each side's rule for undeclared members to those that only the other side declares."""
    if one.get("patternProperties") != other.get("patternProperties"):
        raise CannotMerge("patternProperties")
    ours, theirs = _properties(one), _properties(other)
    more, their_more = one.get("additionalProperties", True), other.get("additionalProperties", True)
    properties: JsonObject = {
        name: _both(ours.get(name, more), theirs.get(name, their_more)) for name in {**ours, **theirs}
    }
    if properties:
        result["properties"] = properties
    if more is not True or their_more is not True:
        result["additionalProperties"] = _both(more, their_more)


def _merge_arrays(one: JsonObject, other: JsonObject, result: JsonObject) -> None:
    keywords = (one.keys() | other.keys()) & _ARRAY_KEYWORDS
    if keywords == {"items"} and not isinstance(one["items"], list) and not isinstance(other["items"], list):
        result["items"] = _both(one["items"], other["items"])
    elif any(one.get(keyword) != other.get(keyword) for keyword in keywords):
        raise CannotMerge("items")


def _both(one: JsonValue, other: JsonValue) -> JsonValue:
    if one is True or one == {} or are_equal(one, other):
        return other
    if other is True or other == {}:
        return one
    return False if one is False or other is False else {"allOf": [one, other]}


def _properties(schema: JsonObject) -> JsonObject:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _kinds(one: JsonValue, other: JsonValue) -> JsonValue:
    sides = [_with_integers(side if isinstance(side, list) else [side]) for side in (one, other)]
    common = [kind for kind in _ALL_KINDS if kind in sides[0] and kind in sides[1]]
    if "number" in common:
        common.remove("integer")
    return None if not common else common[0] if len(common) == 1 else list[JsonValue](common)


def _with_integers(kinds: list[JsonValue]) -> list[JsonValue]:
    return [*kinds, "integer"] if "number" in kinds else kinds


def _values(one: JsonValue, other: JsonValue) -> JsonValue:
    ours, theirs = cast("list[JsonValue]", one), cast("list[JsonValue]", other)
    return [our for our in ours if any(are_equal(our, their) for their in theirs)] or None


def _required(one: JsonValue, other: JsonValue) -> JsonValue:
    ours, theirs = cast("list[JsonValue]", one), cast("list[JsonValue]", other)
    return [*ours, *(their for their in theirs if their not in ours)]


def _step(one: JsonValue, other: JsonValue) -> JsonValue:
    """Return the smallest number that is a multiple of both."""
    a, b = Fraction(str(one)), Fraction(str(other))
    common = Fraction(math.lcm(a.numerator, b.numerator), math.gcd(a.denominator, b.denominator))
    return common.numerator if common.denominator == 1 else float(common)


def _larger(one: JsonValue, other: JsonValue) -> JsonValue:
    return max(cast("float", one), cast("float", other))


def _smaller(one: JsonValue, other: JsonValue) -> JsonValue:
    return min(cast("float", one), cast("float", other))


_RULES: dict[str, Callable[[JsonValue, JsonValue], JsonValue]] = {
    "type": _kinds,
    "enum": _values,
    "const": lambda _one, _other: None,
    "required": _required,
    "multipleOf": _step,
    **dict.fromkeys(["minimum", "exclusiveMinimum", "minLength", "minItems"], _larger),
    **dict.fromkeys(["maximum", "exclusiveMaximum", "maxLength", "maxItems"], _smaller),
}
"""How two different values of a keyword are combined; None means that no value can match."""
