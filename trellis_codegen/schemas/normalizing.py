"""The simplest form of a schema: one type, an enumeration, a union, or any value.

A constraint that this form cannot express is recorded as a loss, and becomes a warning for the author.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.schemas.enum_filter import equality_key, is_allowed
from trellis_codegen.schemas.keywords import KEYWORDS_OF, MERGEABLE
from trellis_codegen.schemas.merging import MAX_UNION, merge
from trellis_codegen.schemas.origins import ORIGINS, Loss, are_same, join_origins, make_loss
from trellis_codegen.schemas.schema_forms import write_positions

__all__ = ["are_disjoint", "normalize"]

JsonObject: TypeAlias = dict[str, JsonValue]

_UNIONS = ("anyOf", "oneOf")
_ROUNDED = {
    "minimum": math.ceil,
    "maximum": math.floor,
    "exclusiveMinimum": math.floor,
    "exclusiveMaximum": math.ceil,
}


def normalize(schema: JsonValue, losses: list[Loss] | None = None) -> JsonValue:
    """Return a schema in its simplest form; what this form cannot express is added to `losses`.

    The result is a boolean, a reference, a union without demands of its own, an enumeration, or a schema of one type. The
    members of a union are in their simplest form too; what is inside lists and objects is as it was.
    """
    losses = [] if losses is None else losses
    if not isinstance(schema, dict):
        return schema
    joined = _without_all_of(schema, losses)
    if not isinstance(joined, dict) or "$ref" in joined:
        return joined
    schema = _typed(write_positions(joined), losses)
    for keyword in _UNIONS:
        if isinstance(members := schema.get(keyword), list):
            siblings = {key: each for key, each in schema.items() if key != keyword}
            return _union(keyword, members, siblings, losses)
    if "enum" in schema or "const" in schema:
        return _enumeration(schema, losses)
    kinds = schema.get("type")
    if isinstance(kinds, list) and len(kinds) > 1:
        members = [_of_kind(schema, kind) for kind in kinds]
        return _union("anyOf", members, _words(schema), losses)
    if isinstance(kinds, list):
        return normalize({**schema, "type": kinds[0]}, losses)
    if kinds == "integer":
        return _whole_limits(schema)
    return _with_required(schema) if kinds == "object" else schema


def _without_all_of(schema: JsonObject, losses: list[Loss]) -> JsonValue:
    members = schema.get("allOf")
    if not isinstance(members, list):
        return schema
    result: JsonValue = {}
    for member in [*members, {key: member for key, member in schema.items() if key != "allOf"}]:
        part = _without_all_of(member, losses) if isinstance(member, dict) else member
        result = merge(result, part, losses)
    if result is False and ORIGINS in schema:
        what = 'no value can match "allOf", because its parts contradict each other'
        losses.append(make_loss(schema, "allOf", what))
    return result


def _typed(schema: JsonObject, losses: list[Loss]) -> JsonObject:
    """Add the type that the keywords of a schema without a type apply to; of several types each has its keywords."""
    if schema.keys() & {"type", "enum", "const", *_UNIONS}:
        return schema
    kinds: list[JsonValue] = [kind for kind, keywords in KEYWORDS_OF.items() if schema.keys() & keywords]
    if not kinds:
        return schema
    if len(kinds) > 1:
        return {**schema, "type": list[JsonValue](KEYWORDS_OF)}
    first = next(keyword for keyword in schema if keyword in KEYWORDS_OF[str(kinds[0])])
    what = f'"{first}" without a "type" allows values that are not {kinds[0]}s; models refuse them'
    losses.append(make_loss(schema, first, what))
    return {**schema, "type": kinds[0]}


def _union(keyword: str, members: list[JsonValue], siblings: JsonObject, losses: list[Loss]) -> JsonValue:
    """Apply the keywords next to a union to each of its members."""
    demands = {key: each for key, each in siblings.items() if key in MERGEABLE}
    if demands:
        members = [merge({**demands, **join_origins(siblings)}, member, losses) for member in members]
    parts = [part for member in members if (part := normalize(member, losses)) is not False]
    words = _words(siblings)
    if not parts:
        return False
    constants = [part["enum"] for part in parts if isinstance(part, dict) and "enum" in part]
    values = [value for constant in constants if isinstance(constant, list) for value in constant]
    all_constants = len(constants) == len(parts)
    if keyword == "oneOf" and not (_different(values) if all_constants else _exclusive(parts)):
        what = '"oneOf" is not fully enforced: a value may match more than one of its members'
        losses.append(make_loss(siblings, "oneOf", what))
    if all_constants and len(parts) > 1:
        return {**words, "enum": values}
    parts = _with_one_null(_without_repeats([inner for part in parts for inner in _members(part)]))
    if len(parts) == 1:
        return {**part, **words, **join_origins(words, part)} if isinstance(part := parts[0], dict) else part
    return {**words, "anyOf": parts}


def _members(part: JsonValue) -> Iterator[JsonValue]:
    """Yield the members of a union inside a union, or the part if it is none."""
    members = part.get("anyOf") if isinstance(part, dict) else None
    if isinstance(members, list):
        yield from members
    else:
        yield part


def _without_repeats(parts: list[JsonValue]) -> list[JsonValue]:
    if len(parts) > MAX_UNION:
        return parts
    return [
        part
        for index, part in enumerate(parts)
        if not any(are_same(part, earlier) for earlier in parts[:index])
    ]


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
    values = part.get("enum")
    if isinstance(values, list) and None in values:
        known: list[JsonValue] = [value for value in values if value is not None]
        return {**part, "enum": known} if known else False
    return part


def _enumeration(schema: JsonObject, losses: list[Loss]) -> JsonValue:
    """Keep the values of an enumeration that the keywords next to it allow."""
    values = schema.get("enum", [schema.get("const")])
    inside = schema.keys() & (KEYWORDS_OF["object"] | KEYWORDS_OF["array"])
    if inside and isinstance(values, list) and any(isinstance(item, dict | list) for item in values):
        what = f'"{min(inside)}" is not fully enforced: the values inside constants are not checked'
        losses.append(make_loss(schema, min(inside), what))
    demands = {key: each for key, each in schema.items() if key != "enum"}
    allowed = [item for item in values if is_allowed(item, demands)] if isinstance(values, list) else []
    return {**_words(schema), "enum": allowed} if allowed else False


def _of_kind(schema: JsonObject, kind: JsonValue) -> JsonValue:
    """Return the part of a schema with several types that applies to one of them."""
    about = KEYWORDS_OF["number" if kind == "integer" else str(kind)]
    kept = about | {ORIGINS, "title"}
    return {"type": kind, **{keyword: each for keyword, each in schema.items() if keyword in kept}}


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
    unnamed = {cast("str", name): more for name in required if name not in properties}
    return {**schema, "properties": {**properties, **unnamed}} if unnamed else schema


def _different(values: list[JsonValue]) -> bool:
    """Whether all values are different."""
    return len(set(map(equality_key, values))) == len(values)


def _exclusive(parts: list[JsonValue]) -> bool:
    """Whether no value can match two of the parts; False also when that is not obvious."""
    if len(parts) > MAX_UNION:
        return False
    pairs = ((one, other) for index, one in enumerate(parts) for other in parts[index + 1 :])
    return all(are_disjoint(one, other) for one, other in pairs)


def are_disjoint(one: JsonValue, other: JsonValue) -> bool:
    """Whether no value can match two schemas in their simplest form; False also when that is not obvious."""
    both = normalize(merge(one, other, []))
    if not isinstance(both, dict):
        return both is False
    properties, required = both.get("properties"), both.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    return any(name in required and normalize(each) is False for name, each in properties.items())


def _words(schema: JsonObject) -> JsonObject:
    """Return the descriptive keywords, without the constraints."""
    return {key: each for key, each in schema.items() if key not in MERGEABLE}
