"""Checks that the keywords of a schema have the values that JSON Schema requires."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.problems import Pointer, Problem, did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = ["COUNTS", "check_values"]

JsonObject: TypeAlias = dict[str, JsonValue]
Test: TypeAlias = Callable[[JsonValue], bool]

_MAX_COUNT = 2**63 - 1
COUNTS = frozenset(
    [
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
    ]
)
"""The keywords that hold a whole number; `2.0` is one."""
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def check_values(node: JsonObject, pointer: Pointer) -> Iterator[Problem]:
    """Yield a problem for each keyword of one schema that holds something else."""
    for keyword, value in node.items():
        wanted, fits = _RULES.get(keyword, _ANYTHING)
        if not fits(value):
            hint = _suggest_required(pointer) if (keyword, value) == ("required", True) else None
            yield Problem(
                pointer=(*pointer, keyword), rule=Rule.INVALID_SCHEMA, what=f"must be {wanted}", hint=hint
            )
    kinds = node.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if isinstance(kind, str) and kind not in _TYPES:
            hint = did_you_mean(kind, _TYPES)
            yield Problem(
                pointer=(*pointer, "type"),
                rule=Rule.INVALID_SCHEMA,
                what=f'"{kind}" is not a JSON Schema type',
                hint=hint,
            )


def _suggest_required(pointer: Pointer) -> str:
    """Return what to write for the `"required": true` of draft 3 and of other languages."""
    return f'write "required": ["{pointer[-1]}"] next to "properties" of its object'


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_positive(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_count(value: JsonValue) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= _MAX_COUNT and value == int(value)


def _is_text(value: JsonValue) -> bool:
    return isinstance(value, str)


def _is_object(value: JsonValue) -> bool:
    return isinstance(value, dict)


def _is_filled_list(value: JsonValue) -> bool:
    return isinstance(value, list) and bool(value)


def _is_list_of_texts(value: JsonValue) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_type(value: JsonValue) -> bool:
    return isinstance(value, str) or (bool(value) and _is_list_of_texts(value))


_ANYTHING: tuple[str, Test] = ("anything", lambda _: True)
_TEXT = ("a string", _is_text)
_OBJECT = ("an object", _is_object)
_COUNT = (f"a whole number from 0 to {_MAX_COUNT}", _is_count)
_NUMBER = ("a number", _is_number)
_LIMIT = ("a number, which replaces the true or false of draft 4", _is_number)
_FILLED_LIST = ("a non-empty list", _is_filled_list)

_RULES: dict[str, tuple[str, Test]] = {
    **dict.fromkeys(COUNTS, _COUNT),
    "$defs": _OBJECT,
    "$ref": _TEXT,
    "allOf": _FILLED_LIST,
    "anyOf": _FILLED_LIST,
    "definitions": _OBJECT,
    "description": _TEXT,
    "enum": _FILLED_LIST,
    "exclusiveMaximum": _LIMIT,
    "exclusiveMinimum": _LIMIT,
    "format": _TEXT,
    "maximum": _NUMBER,
    "minimum": _NUMBER,
    "multipleOf": ("a number above 0", _is_positive),
    "oneOf": _FILLED_LIST,
    "pattern": _TEXT,
    "patternProperties": _OBJECT,
    "prefixItems": _FILLED_LIST,
    "properties": _OBJECT,
    "required": ("a list of strings", _is_list_of_texts),
    "type": ("a string, or a list of strings", _is_type),
}
