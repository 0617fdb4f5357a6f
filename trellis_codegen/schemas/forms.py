"""Questions about one schema: is it an object, a map, a literal; what does it come down to."""

from __future__ import annotations

import string
from typing import TypeAlias, TypeGuard

from pydantic import JsonValue

from trellis_codegen.schemas.checking import subschemas
from trellis_codegen.schemas.keywords import CONSTRAINTS, STRUCTURAL

__all__ = [
    "description_of",
    "has_reference",
    "is_map",
    "is_object",
    "is_text",
    "letter",
    "literal",
    "map_value",
    "plain_default",
    "properties_of",
    "unwrapped",
]

JsonObject: TypeAlias = dict[str, JsonValue]

_PLAIN_TYPES: dict[JsonValue, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def unwrapped(schema: JsonValue) -> JsonValue:
    """Return what a schema comes down to.

    A union of one is its member, a union of constants an enumeration, and `allOf` one schema where its members agree.
    """
    if not isinstance(schema, dict):
        return schema
    for keyword in ("anyOf", "oneOf", "allOf"):
        members = schema.get(keyword)
        if not isinstance(members, list):
            continue
        beside = {key: each for key, each in schema.items() if key != keyword}
        if len(members) == 1 or keyword == "allOf":
            return unwrapped(_merged([*members, beside]))
        constants = [each["const"] for each in members if isinstance(each, dict) and "const" in each]
        if len(constants) == len(members) and all(_is_plain(each) for each in constants):
            return {**beside, "enum": constants}
    return _split_kinds(schema)


def _split_kinds(schema: JsonObject) -> JsonValue:
    """Write an object with properties that may be something else as a union."""
    kinds = schema.get("type")
    if not isinstance(kinds, list) or "object" not in kinds:
        return schema
    members: list[JsonValue] = [
        {**schema, "type": kind} if kind == "object" else {"type": kind} for kind in kinds
    ]
    return unwrapped(members[0]) if len(members) == 1 else {"anyOf": members}


def is_object(schema: JsonValue) -> TypeGuard[JsonObject]:
    """Whether a class is made of this schema: it says which members its objects have."""
    return isinstance(schema, dict) and "properties" in schema and schema.get("type", "object") == "object"


def is_text(schema: JsonObject) -> bool:
    """Whether this is a string, or a string or null."""
    return schema.get("type") in ("string", ["string"], ["string", "null"], ["null", "string"])


def is_map(schema: JsonObject) -> bool:
    """Whether this is an object whose members are not known by name."""
    if "type" in schema:
        return schema["type"] == "object"
    return bool(schema.keys() & {"patternProperties", "additionalProperties"})


def map_value(schema: JsonObject) -> JsonValue:
    """Return the schema that the members of a map have."""
    patterns = schema.get("patternProperties")
    if not isinstance(patterns, dict) or not patterns:
        return schema.get("additionalProperties", True)
    return next(iter(patterns.values())) if len(patterns) == 1 else True


def literal(schema: JsonObject) -> JsonObject:
    """Return an enumeration, or the plain type when its values can't be written as a `Literal`."""
    values = schema["enum"] if "enum" in schema else [schema["const"]]
    if isinstance(values, list) and all(_is_plain(each) for each in values):
        return {"enum": values}
    kind = schema.get("type")
    return {"type": kind} if isinstance(kind, str) and kind in _PLAIN_TYPES else {}


def plain_default(schema: JsonValue) -> JsonValue:
    """Return the default of a string, number or boolean; None when there is none that fits."""
    if not isinstance(schema, dict) or "format" in schema:
        return None
    default, values, kind = schema.get("default"), schema.get("enum"), schema.get("type")
    if isinstance(values, list):
        return default if default in values and _is_plain(default) else None
    if not isinstance(kind, str) or isinstance(default, bool) != (kind == "boolean"):
        return None
    return default if isinstance(default, _PLAIN_TYPES.get(kind, ())) else None


def description_of(schema: JsonValue) -> str | None:
    """Return the description of a schema, if it has words in it."""
    text = schema.get("description") if isinstance(schema, dict) else None
    return text.strip() or None if isinstance(text, str) else None


def properties_of(schema: JsonValue) -> JsonObject:
    """Return the properties of an object schema."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def has_reference(schema: JsonValue) -> bool:
    """Whether a schema still refers to another one: only recursion does once references are written out."""
    if not isinstance(schema, dict):
        return False
    return "$ref" in schema or any(has_reference(each) for _, each in subschemas(schema))


def letter(index: int) -> str:
    """Return A, B, … Z, AA, BB, … for 0, 1, …: what tells things apart that have nothing else."""
    alphabet = string.ascii_uppercase
    return alphabet[index % len(alphabet)] * (1 + index // len(alphabet))


def _merged(members: list[JsonValue]) -> JsonValue:
    """Return one schema that says what all members say.

    Where two members say different things of one keyword, the result is that anything goes: True.
    """
    result: JsonObject = {}
    for member in members:
        if member is False:
            return False
        for keyword, value in member.items() if isinstance(member, dict) else ():
            known = result.get(keyword, value)
            if isinstance(known, dict) and isinstance(value, dict) and keyword == "properties":
                if any(known.get(name, each) != each for name, each in value.items()):
                    return True
                result[keyword] = {**known, **value}
            elif isinstance(known, list) and isinstance(value, list) and keyword == "required":
                result[keyword] = [*known, *(each for each in value if each not in known)]
            elif known != value and keyword in STRUCTURAL | CONSTRAINTS:
                return True
            else:
                result[keyword] = value
    return result


def _is_plain(value: JsonValue) -> bool:
    return value is None or isinstance(value, str | int)
