"""Questions about one schema: whether it is an object or a map, and its description and default."""

from __future__ import annotations

import string
from typing import TypeAlias, TypeGuard

from pydantic import JsonValue

from trellis_codegen.schemas.enum_filter import is_allowed
from trellis_codegen.schemas.keywords import ENFORCED_FORMATS

__all__ = [
    "find_default",
    "find_description",
    "find_properties",
    "find_title",
    "is_object",
    "make_letter",
    "write_positions",
]

JsonObject: TypeAlias = dict[str, JsonValue]


def is_object(schema: JsonValue) -> TypeGuard[JsonObject]:
    """Whether this schema becomes a class: it names the members of its objects."""
    return isinstance(schema, dict) and "properties" in schema and schema.get("type", "object") == "object"


def find_default(schema: JsonValue) -> JsonValue:
    """Return the default of a string, number or boolean; None when there is none that the schema, or a member of a union, allows."""
    if not isinstance(schema, dict) or schema.get("format") in ENFORCED_FORMATS or "default" not in schema:
        return None
    default = schema["default"]
    if not is_allowed(default, schema) or not isinstance(default, str | int | float):
        return None
    if isinstance(members := schema.get("anyOf"), list):
        found = (
            find_default({**member, "default": default}) for member in members if isinstance(member, dict)
        )
        return next((each for each in found if each is not None), None)
    if isinstance(default, float) and default.is_integer() and not _is_float(schema):
        default = int(default)
    return default if "type" in schema or "enum" in schema else None


def _is_float(schema: JsonObject) -> bool:
    """Whether the type of a schema for whole numbers is `float`; otherwise, type checkers refuse `1.0`."""
    kinds = schema.get("type")
    return "enum" not in schema and "number" in (kinds if isinstance(kinds, list) else [kinds])


def find_description(schema: JsonValue) -> str | None:
    """Return the description of a schema, if it has words in it."""
    text = schema.get("description") if isinstance(schema, dict) else None
    return text.strip() or None if isinstance(text, str) else None


def find_properties(schema: JsonValue) -> JsonObject:
    """Return the properties of an object schema."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def write_positions(schema: JsonObject) -> JsonObject:
    """Write a list of `items` as `prefixItems`, its newer name."""
    if not isinstance(items := schema.get("items"), list):
        return schema
    rest = {key: each for key, each in schema.items() if key not in ("items", "additionalItems")}
    return {**rest, "prefixItems": items, "items": schema.get("additionalItems", True)}


def find_title(schema: JsonValue) -> str | None:
    """Return the title of a schema, if it has one."""
    title = schema.get("title") if isinstance(schema, dict) else None
    return title if isinstance(title, str) else None


def make_letter(index: int) -> str:
    """Return A, B, … Z, AA, BB, … for 0, 1, …, for things without a better name."""
    alphabet = string.ascii_uppercase
    return alphabet[index % len(alphabet)] * (1 + index // len(alphabet))
