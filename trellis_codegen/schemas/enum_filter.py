"""Checks that the keywords next to a constant allow it: for enumerations and defaults."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.contract.pointers import find_kind
from trellis_codegen.schemas.patterns import matches
from trellis_codegen.schemas.text_formats import fits_format

__all__ = ["are_equal", "equality_key", "is_allowed"]

JsonObject: TypeAlias = dict[str, JsonValue]


def is_allowed(value: JsonValue, schema: JsonObject) -> bool:
    """Whether a value has the type and keeps the limits that a schema gives; what is inside it is not looked at."""
    kinds = schema.get("type")
    if kinds is not None and not _is_kind(value, kinds if isinstance(kinds, list) else [kinds]):
        return False
    if "const" in schema and not are_equal(value, schema["const"]):
        return False
    values = schema.get("enum")
    if isinstance(values, list) and equality_key(value) not in map(equality_key, values):
        return False
    match value:
        case bool() | None:
            return True
        case str():
            return _fits_text(value, schema)
        case int() | float():
            return _fits_number(value, schema)
        case list():
            return _between(len(value), schema, "Items")
        case _:
            return True


def are_equal(one: JsonValue, other: JsonValue) -> bool:
    """Whether two values are equal in JSON Schema: `1` is `1.0`, and neither is `true`."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(are_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_equal, one, other))
    return one == other


def equality_key(value: JsonValue) -> str:
    """Return a text that two values share if, and only if, they are equal in JSON Schema."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: JsonValue) -> JsonValue:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _whole(each) for name, each in value.items()}
        case list():
            return [_whole(each) for each in value]
        case _:
            return value


def _is_kind(value: JsonValue, kinds: list[JsonValue]) -> bool:
    kind = find_kind(value)
    return kind in kinds or (kind == "integer" and "number" in kinds)


def _fits_text(value: str, schema: JsonObject) -> bool:
    pattern, format_name = schema.get("pattern"), schema.get("format")
    fits = not isinstance(pattern, str) or matches(pattern, value)
    has_format = not isinstance(format_name, str) or fits_format(value, format_name)
    return fits and has_format and _between(len(value), schema, "Length")


def _fits_number(value: float, schema: JsonObject) -> bool:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    step = schema.get("multipleOf")
    return (
        not (isinstance(low, int | float) and value < low)
        and not (isinstance(high, int | float) and value > high)
        and not (isinstance(above, int | float) and value <= above)
        and not (isinstance(below, int | float) and value >= below)
        and not (isinstance(step, int | float) and step and Fraction(str(value)) % Fraction(str(step)))
    )


def _between(count: int, schema: JsonObject, what: str) -> bool:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    return not (isinstance(low, int) and count < low) and not (isinstance(high, int) and count > high)
