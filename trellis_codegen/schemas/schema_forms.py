"""Questions about one schema: whether it is an object or a map, and its description and default."""

from __future__ import annotations

import string
from typing import TypeAlias, TypeGuard

from pydantic import JsonValue

from trellis_codegen.schemas.checking import subschemas
from trellis_codegen.schemas.enum_filter import is_allowed

__all__ = [
    "find_default",
    "find_description",
    "find_properties",
    "has_reference",
    "is_map",
    "is_object",
    "make_letter",
]

JsonObject: TypeAlias = dict[str, JsonValue]


def is_object(schema: JsonValue) -> TypeGuard[JsonObject]:
    """Whether this schema becomes a class: it names the members of its objects."""
    return isinstance(schema, dict) and "properties" in schema and schema.get("type", "object") == "object"


def is_map(schema: JsonObject) -> bool:
    """Whether this is an object whose members are not known by name."""
    if "type" in schema:
        return schema["type"] == "object"
    return bool(schema.keys() & {"patternProperties", "additionalProperties"})


def find_default(schema: JsonValue) -> JsonValue:
    """Return the default of a string, number or boolean; None when there is none that the schema allows."""
    if not isinstance(schema, dict) or "format" in schema or "default" not in schema:
        return None
    default = schema["default"]
    if not is_allowed(default, schema) or not isinstance(default, str | int | float):
        return None
    return default if "type" in schema or "enum" in schema else None


def find_description(schema: JsonValue) -> str | None:
    """Return the description of a schema, if it has words in it."""
    text = schema.get("description") if isinstance(schema, dict) else None
    return text.strip() or None if isinstance(text, str) else None


def find_properties(schema: JsonValue) -> JsonObject:
    """Return the properties of an object schema."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def has_reference(schema: JsonValue) -> bool:
    """Whether a schema still has references; after expansion, only recursive ones do."""
    if not isinstance(schema, dict):
        return False
    return "$ref" in schema or any(has_reference(each) for _, each in subschemas(schema))


def make_letter(index: int) -> str:
    """Return A, B, … Z, AA, BB, … for 0, 1, …, for things without a better name."""
    alphabet = string.ascii_uppercase
    return alphabet[index % len(alphabet)] * (1 + index // len(alphabet))
