"""Questions about one schema: is it an object, a map, a literal; what does it come down to."""

from __future__ import annotations

from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.schemas.checking import subschemas
from trellis_codegen.schemas.keywords import CONSTRAINTS, STRUCTURAL

__all__ = [
    "description_of", "has_reference", "is_map", "is_object", "literal", "map_value", "plain_default", "unwrapped",
]  # fmt: skip

JsonObject: TypeAlias = dict[str, JsonValue]

_PLAIN_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float),
}  # fmt: skip


def unwrapped(schema: JsonValue) -> JsonValue:
    """Return what a schema comes down to: a union of one is its member, a union of constants an enumeration.

    `allOf` becomes one schema where its members agree.
    """
    if not isinstance(schema, dict):
        return schema
    for keyword in ("anyOf", "oneOf", "allOf"):
        members = schema.get(keyword)
        if not isinstance(members, list):
            continue
        beside = {key: each for key, each in schema.items() if key != keyword}
        if len(members) == 1:
            return unwrapped(_merged([members[0], beside]))
        if keyword == "allOf" and (merged := _merged([*members, beside])) is not None:
            return unwrapped(merged)
        if keyword != "allOf" and all(isinstance(each, dict) and _is_plain(each.get("const", [])) for each in members):
            return {**beside, "enum": [cast("JsonObject", each)["const"] for each in members]}
    kinds = schema.get("type")
    if isinstance(kinds, list) and "object" in kinds and ("properties" in schema or len(kinds) == 1):
        others: list[JsonValue] = [{"type": each} for each in kinds if each != "object"]
        return unwrapped({"anyOf": [{**schema, "type": "object"}, *others]})
    return schema


def is_object(schema: JsonObject) -> bool:
    """Whether a class is made of this schema: it says which members its objects have."""
    return "properties" in schema and schema.get("type", "object") == "object"


def is_map(schema: JsonObject) -> bool:
    """Whether this is an object whose members are not known by name."""
    return schema.get("type") == "object" or "type" not in schema and bool(schema.keys() & {"patternProperties", "additionalProperties"})


def map_value(schema: JsonObject) -> JsonValue:
    """Return the schema that the members of a map have."""
    patterns = schema.get("patternProperties")
    if isinstance(patterns, dict) and len(patterns) == 1:
        return next(iter(patterns.values()))
    return schema.get("additionalProperties", {}) if not patterns else {}


def literal(schema: JsonObject) -> JsonObject:
    """Return an enumeration, or the plain type when its values can't be written as a `Literal`."""
    values = schema["enum"] if "enum" in schema else [schema["const"]]
    if isinstance(values, list) and all(_is_plain(each) for each in values):
        return {"enum": values}
    return {"type": schema["type"]} if isinstance(schema.get("type"), str) and schema["type"] in _PLAIN_TYPES else {}


def plain_default(schema: JsonValue) -> JsonValue:
    """Return the default of a string, number or boolean; None when there is none that fits."""
    if not isinstance(schema, dict) or "format" in schema or not (default := schema.get("default")):
        return schema.get("default") if isinstance(schema, dict) and schema.get("default") in (False, 0, "") else None
    if "enum" in schema or "const" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        return default if isinstance(values, list) and default in values else None
    kind = schema.get("type")
    fits = isinstance(kind, str) and isinstance(default, _PLAIN_TYPES.get(kind, ())) and (kind == "boolean") == isinstance(default, bool)
    return default if fits else None


def description_of(schema: JsonValue) -> str | None:
    """Return the description of a schema, if it has words in it."""
    text = schema.get("description") if isinstance(schema, dict) else None
    return text.strip() or None if isinstance(text, str) else None


def has_reference(schema: JsonValue) -> bool:
    """Whether a schema still refers to another one: only recursion does once references are written out."""
    if not isinstance(schema, dict):
        return False
    return "$ref" in schema or any(has_reference(each) for _, each in subschemas(schema))


def _merged(members: list[JsonValue]) -> JsonValue:
    """Return one schema that says what all members say, or None when two say different things of one keyword."""
    result: JsonObject = {}
    for member in members:
        if not isinstance(member, dict):
            if member is False:
                return False
            continue
        for keyword, value in member.items():
            if keyword == "properties" and isinstance(known := result.get("properties"), dict) and isinstance(value, dict):
                if any(known.get(name, each) != each for name, each in value.items()):
                    return None
                result["properties"] = {**known, **value}
            elif keyword == "required" and isinstance(names := result.get("required"), list) and isinstance(value, list):
                result["required"] = [*names, *(each for each in value if each not in names)]
            elif keyword in STRUCTURAL | CONSTRAINTS and result.get(keyword, value) != value:
                return None
            else:
                result[keyword] = value
    return result


def _is_plain(value: JsonValue) -> bool:
    return value is None or isinstance(value, str | int)
