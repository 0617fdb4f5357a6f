"""Types that need no class: enumerations, maps, tuples, and constrained strings, numbers and lists."""

from __future__ import annotations

from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.contract.pointers import find_kind
from trellis_codegen.schemas.enum_filter import equality_key
from trellis_codegen.schemas.keywords import ENFORCED_FORMATS, KEYWORDS_OF
from trellis_codegen.schemas.patterns import translate_pattern

__all__ = ["enforces_patterns", "is_tuple", "select_limits", "split_map", "write_literal"]

JsonObject: TypeAlias = dict[str, JsonValue]

_LARGE = 2**63
"""Integers of this size are not the values of a `Literal`: next to other values, pydantic refuses them."""
_ALL_NAMES = frozenset(["", ".*", "^.*$", "^(.*)$", "^.*", ".*$", "^"])
"""Patterns that every name matches; some tools write maps this way."""


def write_literal(values: list[JsonValue]) -> str:
    """Return the type of an enumeration: a `Literal` where Python has one, else what its values have in common."""
    wholes = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    known: dict[str, JsonValue] = {}
    for value in wholes:
        known.setdefault(equality_key(value), value)
    different = list(known.values())
    kinds = {find_kind(value) for value in different}
    if any(isinstance(value, int) and not -_LARGE <= value < _LARGE for value in different):
        common = "Integer" if kinds == {"integer"} else "JsonValue"
        return _one_of(common, different)
    if kinds <= {"string", "null"}:
        return _literal(different)
    if kinds <= {"string", "null", "integer"} or kinds <= {"string", "null", "boolean"}:
        return f"Annotated[{_literal(different)}, Exact]"
    common = "float" if kinds <= {"integer", "number"} else "JsonValue"
    return _one_of(common, different)


def split_map(schema: JsonObject) -> tuple[str | None, JsonValue]:
    """Return the pattern of a map's names, if it is enforced, and the schema of its values."""
    patterns, more = schema.get("patternProperties"), schema.get("additionalProperties", True)
    if not isinstance(patterns, dict) or not patterns:
        return None, more
    (pattern, value), *others = patterns.items()
    if not others and pattern in _ALL_NAMES:
        return None, value
    return (pattern, value) if not others and more is False else (None, True)


def enforces_patterns(schema: JsonObject) -> bool:
    """Whether a map, or a class, checks the members that a schema describes by patterns of their names."""
    patterns = schema.get("patternProperties")
    if not isinstance(patterns, dict) or not patterns:
        return True
    is_closed = schema.get("additionalProperties") is False
    is_one = len(patterns) == 1 and (is_closed or next(iter(patterns)) in _ALL_NAMES)
    return is_one and not schema.keys() & {"properties", "required"}


def is_tuple(schema: JsonObject) -> bool:
    """Whether every list of a schema has one length, and a schema for each position."""
    length = len(cast("list[JsonValue]", schema["prefixItems"]))
    high = schema.get("maxItems")
    if schema.get("items") is False:
        high = min(length, high) if isinstance(high, int) else length
    return schema.get("minItems", 0) == length == high


def select_limits(schema: JsonObject) -> JsonObject:
    """Return the type and the enforced limits of a string, number, boolean, null or list."""
    kind = schema.get("type")
    if not isinstance(kind, str):
        return {}
    about = KEYWORDS_OF["number" if kind == "integer" else kind]
    result = {"type": kind, **{keyword: each for keyword, each in schema.items() if keyword in about}}
    if isinstance(pattern := result.get("pattern"), str):
        result["pattern"] = translate_pattern(pattern)
    if result.get("format") in ENFORCED_FORMATS:
        return {"type": kind, "format": result["format"]}
    result.pop("format", None)
    if result.get("items") is True or result.get("items") == {}:
        result.pop("items")
    return result


def _one_of(common: str, values: list[JsonValue]) -> str:
    return f"Annotated[{common}, OneOf(({', '.join(map(repr, values))},))]"


def _literal(values: list[JsonValue]) -> str:
    words = [repr(value) for value in values if value is not None]
    kinds = [f"Literal[{', '.join(words)}]"] if words else []
    return " | ".join([*kinds, *(["None"] if None in values else [])])
