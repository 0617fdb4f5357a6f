"""The simplest form of a schema: one type, an enumeration, a union, or any value.

A constraint that this form cannot express is recorded as a loss, and becomes a warning for the author.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.schemas.enum_filter import is_allowed
from trellis_codegen.schemas.keywords import KEYWORDS_OF, MERGEABLE
from trellis_codegen.schemas.merging import CannotMerge, merge

__all__ = ["Loss", "normalize"]

JsonObject: TypeAlias = dict[str, JsonValue]
Loss: TypeAlias = tuple[str, str]
"""A keyword, and the reason why it is not fully enforced."""

_UNIONS = ("anyOf", "oneOf")
_MANY = 100
"""Unions of more members are not compared pair by pair."""
_ROUNDED = {
    "minimum": math.ceil,
    "maximum": math.floor,
    "exclusiveMinimum": math.floor,
    "exclusiveMaximum": math.ceil,
}


def normalize(schema: JsonValue, losses: list[Loss] | None = None) -> JsonValue:
    """Return a schema in its simplest form; its losses are added to `losses`, without those of its members.

    The result is a boolean, a reference, a union without demands of its own, an enumeration, or a schema of one type.
    """
    losses = [] if losses is None else losses
    if not isinstance(schema, dict) or "$ref" in schema:
        return schema
    joined = _without_all_of(schema, losses)
    if not isinstance(joined, dict) or "$ref" in joined:
        return joined
    schema = _typed(_positional(joined), losses)
    for keyword in _UNIONS:
        if isinstance(members := schema.get(keyword), list):
            siblings = {key: each for key, each in schema.items() if key != keyword}
            return _union(keyword, members, siblings, losses)
    if "enum" in schema or "const" in schema:
        return _enumeration(schema, losses)
    kinds = schema.get("type")
    if isinstance(kinds, list) and len(kinds) > 1:
        return {**_words(schema), "anyOf": [_of_kind(schema, kind) for kind in kinds]}
    if isinstance(kinds, list):
        return normalize({**schema, "type": kinds[0]})
    if kinds == "integer":
        return _whole_limits(schema)
    return _with_required(schema) if kinds == "object" else schema


def _without_all_of(schema: JsonObject, losses: list[Loss]) -> JsonValue:
    members = schema.get("allOf")
    if not isinstance(members, list):
        return schema
    result: JsonValue = {}
    for member in [*members, {key: member for key, member in schema.items() if key != "allOf"}]:
        part = _without_all_of(member, []) if isinstance(member, dict) else member
        try:
            result = merge(result, part)
        except CannotMerge as error:
            losses.append(("allOf", f'its parts have conflicting values for "{error}"'))
            return _words(schema)
    if result is False:
        losses.append(("allOf", "no value can match, because its parts contradict each other"))
    return result


def _positional(schema: JsonObject) -> JsonObject:
    """Write a list of `items` as `prefixItems`, its newer name."""
    if not isinstance(items := schema.get("items"), list):
        return schema
    rest = {key: each for key, each in schema.items() if key not in ("items", "additionalItems")}
    return {**rest, "prefixItems": items, "items": schema.get("additionalItems", True)}


def _typed(schema: JsonObject, losses: list[Loss]) -> JsonObject:
    """Add the type that the keywords of a schema without a type apply to."""
    if schema.keys() & {"type", "enum", "const", *_UNIONS}:
        return schema
    kinds = [kind for kind, keywords in KEYWORDS_OF.items() if schema.keys() & keywords]
    if not kinds:
        return schema
    first = next(keyword for keyword in schema if any(keyword in KEYWORDS_OF[kind] for kind in kinds))
    if len(kinds) == 1:
        losses.append((first, f'without a "type", it applies to {kinds[0]} values only'))
        return {**schema, "type": kinds[0]}
    losses.append((first, 'without a "type", it is ambiguous'))
    return _words(schema)


def _union(keyword: str, members: list[JsonValue], siblings: JsonObject, losses: list[Loss]) -> JsonValue:
    """Apply the keywords next to a union to each of its members."""
    demands = {key: each for key, each in siblings.items() if key in MERGEABLE}
    parts: list[JsonValue] = []
    for member in members:
        try:
            part = normalize(merge(demands, member), losses) if demands else normalize(member)
        except CannotMerge as error:
            losses.append((keyword, f'the keywords next to it conflict on "{error}"'))
            part = normalize(member)
        if part is not False:
            parts.append(part)
    words = _words(siblings)
    if not parts:
        return False
    constants = [part["enum"] for part in parts if isinstance(part, dict) and "enum" in part]
    values = [value for constant in constants if isinstance(constant, list) for value in constant]
    all_constants = len(constants) == len(parts)
    if keyword == "oneOf" and not (_different(values) if all_constants else _exclusive(parts)):
        losses.append(("oneOf", "a value may match more than one of its members"))
    if all_constants and len(parts) > 1:
        return {**words, "enum": values}
    parts = _with_one_null(parts)
    if len(parts) == 1:
        return {**parts[0], **words} if isinstance(parts[0], dict) else parts[0]
    return {**words, "anyOf": parts}


def _with_one_null(parts: list[JsonValue]) -> list[JsonValue]:
    """Let one member of a union be null, if any is: Python has no `None | None`, and one `None` means the same."""
    rest = [_without_null(part) for part in parts]
    if rest == parts:
        return parts
    return [*(part for part in rest if part is not False), {"type": "null"}]


def _without_null(part: JsonValue) -> JsonValue:
    """Return a member of a union without null; False if nothing else matches it."""
    if not isinstance(part, dict):
        return part
    if part.get("type") == "null":
        return False
    values, members = part.get("enum"), part.get("anyOf")
    if isinstance(values, list) and None in values:
        known: list[JsonValue] = [value for value in values if value is not None]
        return {**part, "enum": known} if known else False
    if isinstance(members, list):
        return {**part, "anyOf": [member for member in map(_without_null, members) if member is not False]}
    return part


def _enumeration(schema: JsonObject, losses: list[Loss]) -> JsonValue:
    """Keep the values of an enumeration that the keywords next to it allow."""
    values = schema.get("enum", [schema.get("const")])
    inside = schema.keys() & (KEYWORDS_OF["object"] | KEYWORDS_OF["array"])
    if inside and isinstance(values, list) and any(isinstance(item, dict | list) for item in values):
        losses.append((min(inside), "the values inside constants are not checked"))
    allowed = [item for item in values if is_allowed(item, schema)] if isinstance(values, list) else []
    return {**_words(schema), "enum": allowed} if allowed else False


def _of_kind(schema: JsonObject, kind: JsonValue) -> JsonValue:
    """Return the part of a schema with several types that applies to one of them."""
    about = KEYWORDS_OF["number" if kind == "integer" else str(kind)]
    return {"type": kind, **{keyword: each for keyword, each in schema.items() if keyword in about}}


def _whole_limits(schema: JsonObject) -> JsonObject:
    """Write the limits of an integer as integers."""
    result = dict(schema)
    for keyword, rounded in _ROUNDED.items():
        limit = schema.get(keyword)
        if isinstance(limit, float):
            result[keyword] = rounded(limit)
    step = schema.get("multipleOf")
    if isinstance(step, float):
        result["multipleOf"] = Fraction(str(step)).numerator
    return result


def _with_required(schema: JsonObject) -> JsonObject:
    """Name every required member among the properties."""
    properties, required = schema.get("properties", {}), schema.get("required")
    if not isinstance(required, list) or not isinstance(properties, dict) or "patternProperties" in schema:
        return schema
    more = schema.get("additionalProperties", True)
    unnamed = {str(name): more for name in required if name not in properties}
    return {**schema, "properties": {**properties, **unnamed}} if unnamed else schema


def _different(values: list[JsonValue]) -> bool:
    """Whether all values are different."""
    numbers = [
        int(number) if isinstance(number, float) and number.is_integer() else number for number in values
    ]
    return len({canonical_json(number) for number in numbers}) == len(numbers)


def _exclusive(parts: list[JsonValue]) -> bool:
    """Whether no value can match two of the parts; False also when that is not obvious."""
    if len(parts) > _MANY:
        return False
    pairs = ((one, other) for index, one in enumerate(parts) for other in parts[index + 1 :])
    return all(_disjoint(one, other) for one, other in pairs)


def _disjoint(one: JsonValue, other: JsonValue) -> bool:
    try:
        both = merge(one, other)
    except CannotMerge:
        return False
    if not isinstance(both, dict):
        return both is False
    if "enum" in both and normalize(both) is False:
        return True
    properties, required = both.get("properties"), both.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    return any(name in required and normalize(each) is False for name, each in properties.items())


def _words(schema: JsonObject) -> JsonObject:
    """Return the descriptive keywords, without the constraints."""
    return {key: each for key, each in schema.items() if key not in MERGEABLE}
