"""A change that each schema rule reports, and its nearest neighbour that it does not. `--explain` shows them, tests run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from pydantic import JsonValue

__all__ = ["SCHEMA_EXAMPLES", "SchemaExample"]

JsonObject: TypeAlias = dict[str, JsonValue]

_TEXT: Final[JsonObject] = {"type": "string"}
_WHOLE: Final[JsonObject] = {"type": "integer"}
_NUMBER: Final[JsonObject] = {"type": "number"}
_TRUTH: Final[JsonObject] = {"type": "boolean"}
_NULL: Final[JsonObject] = {"type": "null"}
_NULLABLE: Final[JsonObject] = {"type": ["string", "null"]}
_A: Final[JsonObject] = {"const": "a"}
_B: Final[JsonObject] = {"const": "b"}
_C: Final[JsonObject] = {"const": "c"}
_ONLY_A: Final = "^a+$"


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaExample:
    """Two pairs of schemas, each old and new."""

    prefix: str
    """The surface that uses the schema."""
    fails: tuple[JsonValue, JsonValue]
    passes: tuple[JsonValue, JsonValue]
    also: tuple[str, ...] = ()
    """What is reported next to the rule."""


def _open(*required: str, **members: JsonValue) -> JsonObject:
    found: JsonObject = {"type": "object", "properties": members}
    return {**found, "required": list[JsonValue](required)} if required else found


def _closed(*required: str, **members: JsonValue) -> JsonObject:
    return {**_open(*required, **members), "additionalProperties": False}


def _map(value: JsonValue) -> JsonObject:
    return {"type": "object", "additionalProperties": value}


def _any_of(*members: JsonValue) -> JsonObject:
    return {"anyOf": list(members)}


def _one_of(*members: JsonValue) -> JsonObject:
    return {"oneOf": list(members)}


def _enum(*values: JsonValue) -> JsonObject:
    return {"enum": list(values)}


def _list(item: JsonValue, **limits: JsonValue) -> JsonObject:
    return {"type": "array", "items": item, **limits}


def _pair(*positions: JsonValue) -> JsonObject:
    return {"type": "array", "prefixItems": list(positions), "minItems": len(positions), "items": False}


def _names(pattern: str) -> JsonObject:
    return {"type": "object", "patternProperties": {pattern: _WHOLE}, "additionalProperties": False}


def _payload(
    old: JsonValue, new: JsonValue, before: JsonValue, after: JsonValue, *also: str
) -> SchemaExample:
    return SchemaExample(prefix="JOB_PAYLOAD", fails=(old, new), passes=(before, after), also=also)


def _answer(old: JsonValue, new: JsonValue, before: JsonValue, after: JsonValue, *also: str) -> SchemaExample:
    return SchemaExample(prefix="RPC_OUTPUT", fails=(old, new), passes=(before, after), also=also)


_MEMBERS: Final[dict[str, SchemaExample]] = {
    "FIELD_REQUIRED_ADDED": _payload(
        _open("a", a=_TEXT), _open("a", "b", a=_TEXT, b=_WHOLE),
        _open("a", a=_TEXT), _open("a", a=_TEXT, b=_WHOLE),
    ),
    "FIELD_REQUIRED_REMOVED": _answer(
        _open("a", "b", a=_TEXT, b=_WHOLE), _open("a", a=_TEXT),
        _open("a", a=_TEXT, b=_WHOLE), _open("a", a=_TEXT),
    ),
    "FIELD_OPTIONAL_ADDED": _answer(
        _closed(a=_TEXT), _closed(a=_TEXT, b=_WHOLE),
        _open(a=_TEXT), _open(a=_TEXT, b=_WHOLE),
    ),
    "FIELD_OPTIONAL_REMOVED": _payload(
        _closed(a=_TEXT, b=_WHOLE), _closed(a=_TEXT),
        _open(a=_TEXT, b=_WHOLE), _open(a=_TEXT),
    ),
    "FIELD_BECAME_REQUIRED": _payload(
        _open(a=_TEXT), _open("a", a=_TEXT),
        _open("a", a=_TEXT), _open("a", a=_TEXT),
    ),
    "FIELD_BECAME_OPTIONAL": _answer(
        _open("a", a=_TEXT), _open(a=_TEXT),
        _open(a=_TEXT), _open(a=_TEXT),
    ),
    "FIELD_RENAMED": _payload(
        _closed("a", a=_TEXT), _closed("b", b=_TEXT),
        _open(a=_TEXT), _open(a=_TEXT, b=_TEXT),
    ),
    "FIELD_OPTIONAL_RENAMED": _payload(
        _open(a=_TEXT), _open(b=_TEXT),
        _open(a=_TEXT), _open(b=_WHOLE),
        "FIELD_OPTIONAL_REMOVED", "UNDECLARED_MEMBER",
    ),
    "FIELD_BECAME_NULLABLE": _answer(
        _open(a=_TEXT), _open(a=_NULLABLE),
        _open(a=_NULLABLE), _open(a=_any_of(_TEXT, _NULL)),
    ),
    "FIELD_LOST_NULL": _payload(
        _open(a=_any_of(_TEXT, _NULL)), _open(a=_TEXT),
        _one_of(_NULL, _enum("a")), _enum("a", None),
    ),
    "OBJECT_CLOSED": _payload(_open(a=_TEXT), _closed(a=_TEXT), _closed(a=_TEXT), _closed(a=_TEXT)),
    "OBJECT_OPENED": _payload(
        _closed(a=_TEXT), _open(a=_TEXT),
        _open(a=_TEXT), {**_open(a=_TEXT), "additionalProperties": True},
    ),
    "UNDECLARED_MEMBER": _payload(
        _open(a=_TEXT), _open(a=_TEXT, b=_WHOLE),
        _open(a=_TEXT), _open(a=_TEXT, b=True),
        "FIELD_OPTIONAL_ADDED",
    ),
    "EXTRA_MEMBERS_NARROWED": _payload(
        _map(_NUMBER), _map(_WHOLE),
        _map(_WHOLE), _map({**_NUMBER, "multipleOf": 1}),
    ),
    "EXTRA_MEMBERS_WIDENED": _answer(_map(_WHOLE), _map(_NUMBER), _map(True), {"type": "object"}),
    "MAP_NAMES_NARROWED": _payload(_map(_WHOLE), _names("^x"), _map(_WHOLE), _names("^.*$")),
    "MAP_NAMES_WIDENED": _answer(_names("^x"), _map(_WHOLE), _names("^.*$"), _map(_WHOLE)),
    "DEFAULT_CHANGED": _payload(
        _open(a={**_WHOLE, "default": 5}), _open(a={**_WHOLE, "default": 6}),
        _open("a", a=_WHOLE), _open("a", a={**_WHOLE, "default": 6}),
    ),
}  # fmt: skip

_VALUES: Final[dict[str, SchemaExample]] = {
    "TYPE_CHANGED": _payload(
        _open(a=_TEXT), _open(a=_WHOLE),
        _open(a=_WHOLE), _open(a={"type": ["integer", "string"]}),
    ),
    "NUMBER_BECAME_INTEGER": _payload(_NUMBER, _WHOLE, {**_NUMBER, "multipleOf": 1}, _WHOLE),
    "INTEGER_BECAME_NUMBER": _answer(_WHOLE, _NUMBER, _WHOLE, {**_NUMBER, "multipleOf": 1}),
    "ENUM_NARROWED": _payload(_enum("a", "b"), _enum("a"), _enum("a"), _A),
    "ENUM_WIDENED": _answer(_enum("a"), _enum("a", "b"), _enum("a", "b"), _enum("b", "a")),
    "CONST_CHANGED": _payload({"const": "v1"}, {"const": "v2"}, {"const": 1}, {"const": 1.0}),
    "BOUND_NARROWED": _payload(
        {**_WHOLE, "minimum": 0}, {**_WHOLE, "minimum": 1},
        {**_WHOLE, "exclusiveMinimum": 0}, {**_WHOLE, "minimum": 1},
    ),
    "BOUND_WIDENED": _answer(
        {**_WHOLE, "maximum": 5}, {**_WHOLE, "maximum": 6},
        {**_WHOLE, "maximum": 5}, {**_WHOLE, "exclusiveMaximum": 6},
    ),
    "LENGTH_NARROWED": _payload(
        _list(_TEXT), _list(_TEXT, maxItems=4),
        {**_TEXT, "pattern": _ONLY_A}, {**_TEXT, "pattern": _ONLY_A, "minLength": 1},
    ),
    "LENGTH_WIDENED": _answer(
        {**_TEXT, "maxLength": 5}, {**_TEXT, "maxLength": 6},
        _TEXT, {**_TEXT, "minLength": 0},
    ),
    "PATTERN_NARROWED": _payload(
        _TEXT, {**_TEXT, "pattern": _ONLY_A},
        _enum("aa", "a"), {**_TEXT, "pattern": _ONLY_A},
    ),
    "PATTERN_WIDENED": _answer(
        {**_TEXT, "pattern": "^a"}, _TEXT,
        {**_TEXT, "pattern": "^a"}, {**_TEXT, "pattern": "^a", "title": "A"},
    ),
    "FORMAT_NARROWED": _payload(
        _TEXT, {**_TEXT, "format": "date-time"},
        _TEXT, {**_TEXT, "format": "email"},
    ),
    "FORMAT_WIDENED": _answer(
        {**_TEXT, "format": "uuid"}, _TEXT,
        {**_TEXT, "format": "email"}, _TEXT,
    ),
    "TUPLE_CHANGED": _payload(
        _list(_TEXT), _pair(_TEXT, _TEXT),
        _list(_TEXT, minItems=2, maxItems=2), _pair(_TEXT, _TEXT),
    ),
    "UNION_MEMBER_REMOVED": _payload(
        _any_of(_TEXT, _WHOLE, _TRUTH), _any_of(_TEXT, _WHOLE),
        _any_of(_TEXT, _WHOLE), _any_of(_WHOLE, _TEXT),
    ),
    "UNION_MEMBER_ADDED": _answer(
        _TEXT, _any_of(_TEXT, _WHOLE),
        {**_NUMBER, "minimum": 0, "maximum": 2},
        _any_of({**_NUMBER, "minimum": 0, "maximum": 1}, {**_NUMBER, "minimum": 1, "maximum": 2}),
    ),
    "TAG_CHANGED": _payload(
        _one_of(_closed("k", k=_A), _closed("k", k=_B)), _one_of(_closed("k", k=_A), _closed("k", k=_C)),
        _closed("k", k=_enum("a", "b")), _one_of(_closed("k", k=_A), _closed("k", k=_B)),
    ),
    "BECAME_NEVER": _payload(
        _open(a=_TEXT), _open(a=False),
        _list(False), {"type": "array", "maxItems": 0},
    ),
    "BECAME_ANY": _answer(_open(a=_TEXT), _open(a=True), _open(a=True), _open(a={})),
    "UNENFORCED_NARROWED": _payload(
        _list(_WHOLE), _list(_WHOLE, uniqueItems=True),
        _list(_WHOLE, uniqueItems=True), _list(_WHOLE, uniqueItems=True),
    ),
    "NOT_DECIDED": _payload(
        {**_TEXT, "pattern": _ONLY_A}, {**_TEXT, "pattern": "^[ab]+$"},
        {**_TEXT, "pattern": _ONLY_A}, {**_TEXT, "pattern": _ONLY_A},
        "PATTERN_WIDENED",
    ),
    "WORDS_CHANGED": _payload(
        _TEXT, {**_TEXT, "description": "The name."},
        _TEXT, _TEXT,
    ),
}  # fmt: skip

SCHEMA_EXAMPLES: Final = {**_MEMBERS, **_VALUES}
"""The examples by the suffix of the rule."""
