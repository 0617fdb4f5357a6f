"""Two schemas → one that accepts what both accept: the meaning of `allOf`, and of keywords next to a union.

What one schema cannot express is left out and recorded as a loss. So the result accepts every value that both accept, and
exactly these if there is no loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.schemas.enum_filter import are_equal, equality_key
from trellis_codegen.schemas.keywords import ENFORCED_FORMATS, MERGEABLE
from trellis_codegen.schemas.origins import Loss, are_same, is_anything, join_origins, make_loss
from trellis_codegen.schemas.patterns import matches
from trellis_codegen.schemas.schema_forms import find_properties, write_positions

__all__ = ["MAX_UNION", "merge"]

JsonObject: TypeAlias = dict[str, JsonValue]

MAX_UNION = 100
"""Two unions become one of at most this many members, and unions of more are not compared pair by pair."""

_ALL_KINDS = ("array", "boolean", "integer", "null", "number", "object", "string")
_OBJECT_KEYWORDS = frozenset(["properties", "additionalProperties", "patternProperties"])
_ARRAY_KEYWORDS = frozenset(["items", "prefixItems", "additionalItems"])
_UNIONS = frozenset(["anyOf", "oneOf"])


def merge(one: JsonValue, other: JsonValue, losses: list[Loss]) -> JsonValue:
    """Return a schema for the values that match both; False when there are none. Descriptions of `other` win."""
    if one is False or other is False:
        return False
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other if not isinstance(one, dict) else one
    result: JsonObject = {**one, **other, **join_origins(one, other)}
    if "$ref" in result and one.keys() & MERGEABLE and other.keys() & MERGEABLE:
        return _merge_references(one, other, result, losses)
    if not _merge_limits(one, other, result, losses):
        return False
    if one.keys() & _OBJECT_KEYWORDS and other.keys() & _OBJECT_KEYWORDS:
        _merge_objects(one, other, result, losses)
    if one.keys() & _ARRAY_KEYWORDS and other.keys() & _ARRAY_KEYWORDS:
        _merge_arrays(one, other, result)
    return result


def _merge_references(
    one: JsonObject, other: JsonObject, result: JsonObject, losses: list[Loss]
) -> JsonValue:
    """Keep a reference, which leads back to itself, and drop what is next to it."""
    kept = {key: each for key, each in result.items() if key not in MERGEABLE}
    kept["$ref"] = one.get("$ref", other.get("$ref"))
    demands = (one.keys() | other.keys()) & MERGEABLE - {"$ref"}
    if demands or one.get("$ref") != other.get("$ref"):
        losses.append(make_loss(result, "$ref", "keywords next to a recursive reference are not enforced"))
    return kept


def _merge_limits(one: JsonObject, other: JsonObject, result: JsonObject, losses: list[Loss]) -> bool:
    """Combine the keywords that both have; False when no value can match."""
    for keyword in one.keys() & other.keys() & MERGEABLE - _OBJECT_KEYWORDS - _ARRAY_KEYWORDS:
        ours, theirs = one[keyword], other[keyword]
        if are_same(ours, theirs):
            continue
        if keyword in _RULES:
            combined = _RULES[keyword](ours, theirs)
            if combined is None:
                return False
            result[keyword] = combined
        elif keyword == "allOf":
            result[keyword] = [*_list(ours), *_list(theirs)]
        elif keyword in _UNIONS and (size := _size(ours) * _size(theirs)) <= MAX_UNION and size:
            members = [merge(our, their, losses) for our in _list(ours) for their in _list(theirs)]
            result[keyword] = [member for member in members if member is not False]
            if not result[keyword]:
                return False
        else:
            result[keyword] = theirs if keyword == "format" and ours not in ENFORCED_FORMATS else ours
            what = f'"{keyword}" is not fully enforced: the same value has another "{keyword}"'
            losses.append(make_loss(other, keyword, what))
    return True


def _merge_objects(one: JsonObject, other: JsonObject, result: JsonObject, losses: list[Loss]) -> None:
    """Apply each side's rule for undeclared members to those that only the other side declares."""
    ours, theirs = find_properties(one), find_properties(other)
    more, their_more = one.get("additionalProperties", True), other.get("additionalProperties", True)
    properties: JsonObject = {
        name: _both(_member(one, name), _member(other, name)) for name in {**ours, **theirs}
    }
    if properties:
        result["properties"] = properties
    if more is not True or their_more is not True:
        result["additionalProperties"] = _both(more, their_more)
    patterns, their_patterns = _patterns(one), _patterns(other)
    if patterns or their_patterns:
        result["patternProperties"] = {
            pattern: _both(
                patterns.get(pattern, True if patterns else more),
                their_patterns.get(pattern, True if their_patterns else their_more),
            )
            for pattern in {**patterns, **their_patterns}
        }
        if (
            patterns
            and their_patterns
            and patterns.keys() != their_patterns.keys()
            and result.get("additionalProperties", True) is not True
        ):
            what = '"patternProperties" is not fully enforced: other patterns apply to the same members'
            losses.append(make_loss(other, "patternProperties", what))


def _member(schema: JsonObject, name: str) -> JsonValue:
    """Return what a schema demands of one member, apart from its patterns, which still apply."""
    properties = find_properties(schema)
    if name in properties:
        return properties[name]
    has_pattern = any(matches(pattern, name) for pattern in _patterns(schema))
    return True if has_pattern else schema.get("additionalProperties", True)


def _patterns(schema: JsonObject) -> JsonObject:
    return cast("JsonObject", schema.get("patternProperties", {}))


def _merge_arrays(one: JsonObject, other: JsonObject, result: JsonObject) -> None:
    """Combine what both sides demand of each position, and of the elements behind them."""
    ours, theirs = write_positions(one), write_positions(other)
    result.pop("additionalItems", None)
    prefix, their_prefix = _list(ours.get("prefixItems", [])), _list(theirs.get("prefixItems", []))
    rest, their_rest = ours.get("items", True), theirs.get("items", True)
    result["items"] = _both(rest, their_rest)
    if prefix or their_prefix:
        result["prefixItems"] = [
            _both(
                prefix[index] if index < len(prefix) else rest,
                their_prefix[index] if index < len(their_prefix) else their_rest,
            )
            for index in range(max(len(prefix), len(their_prefix)))
        ]


def _both(one: JsonValue, other: JsonValue) -> JsonValue:
    if is_anything(one) or are_same(one, other):
        return other
    if is_anything(other):
        return one
    return False if one is False or other is False else {"allOf": [one, other]}


def _size(members: JsonValue) -> int:
    return len(_list(members))


def _list(value: JsonValue) -> list[JsonValue]:
    return cast("list[JsonValue]", value)


def _kinds(one: JsonValue, other: JsonValue) -> JsonValue:
    sides = [_with_integers(side if isinstance(side, list) else [side]) for side in (one, other)]
    common = [kind for kind in _ALL_KINDS if kind in sides[0] and kind in sides[1]]
    if "number" in common:
        common.remove("integer")
    return None if not common else common[0] if len(common) == 1 else list[JsonValue](common)


def _with_integers(kinds: list[JsonValue]) -> list[JsonValue]:
    return [*kinds, "integer"] if "number" in kinds else kinds


def _values(one: JsonValue, other: JsonValue) -> JsonValue:
    theirs = {equality_key(value) for value in _list(other)}
    return [our for our in _list(one) if equality_key(our) in theirs] or None


def _constant(one: JsonValue, other: JsonValue) -> JsonValue:
    return one if are_equal(one, other) else None


def _required(one: JsonValue, other: JsonValue) -> JsonValue:
    return list(dict.fromkeys(cast("list[str]", [*_list(one), *_list(other)])))


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
    "const": _constant,
    "required": _required,
    "multipleOf": _step,
    **dict.fromkeys(["minimum", "exclusiveMinimum", "minLength", "minItems"], _larger),
    **dict.fromkeys(["maximum", "exclusiveMaximum", "maxLength", "maxItems"], _smaller),
}
"""How two different values of a keyword are combined; None means that no value can match."""
