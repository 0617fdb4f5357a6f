"""Redaction: no secret is in the output, nothing in the output depends on one, and it stays valid where it can."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_admin.samples.pattern_text import matches_pattern, write_text
from trellis_admin.samples.redaction import Redaction, parse_pointer

SECRET = "s3cr3t"  # noqa: S105 - what must not be seen
"""Is in every secret text, and in no placeholder."""


def marked(schema: dict[str, Any], mark: str = "x-sensitive") -> dict[str, Any]:  # Any: JSON Schema
    return {**schema, mark: True}


# --- schemas with values that they allow; the values of what is marked are secret -------------------------------------

PLAIN: list[tuple[dict[str, Any], st.SearchStrategy[Any]]] = [
    ({"type": "string"}, st.text(max_size=5)),
    ({"type": "string", "minLength": 8, "maxLength": 12}, st.text(min_size=8, max_size=12)),
    ({"type": "string", "format": "date"}, st.dates().map(str)),
    ({"type": "string", "format": "uuid"}, st.uuids().map(str)),
    (
        {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
        st.from_regex(r"[A-Z]{3}-[0-9]{4}", fullmatch=True),
    ),
    ({"enum": ["gold", "silver", 7]}, st.sampled_from(["gold", "silver", 7])),
    ({"type": "integer", "minimum": 18, "maximum": 99}, st.integers(18, 99)),
    ({"type": "integer", "multipleOf": 5, "exclusiveMinimum": 10}, st.integers(3, 99).map(lambda n: n * 5)),
    ({"type": "number", "maximum": -1}, st.floats(-1e6, -1)),
    ({"type": "boolean"}, st.booleans()),
    ({"type": ["string", "null"]}, st.none() | st.text(max_size=5)),
]
"""Small schemas; their placeholders must be valid."""


@st.composite
def cases(draw: st.DrawFn, depth: int = 3) -> tuple[dict[str, Any], Any, Any]:
    """Return a schema and two values that it allows, which differ in what is marked only."""
    kind = draw(
        st.sampled_from(["plain", "secret"] + ["object", "array", "map", "union", "ref"] * (depth > 0))
    )
    if kind in ("plain", "secret"):
        schema, values = draw(st.sampled_from(PLAIN))
        one = draw(values)
        if kind == "plain":
            return schema, one, one
        other = draw(values.filter(lambda value: type(value) is type(one)))
        return marked(schema, draw(st.sampled_from(["x-sensitive", "writeOnly"]))), one, other
    inner, one, other = draw(cases(depth=depth - 1))
    match kind:
        case "object":
            rest, third, fourth = draw(cases(depth=depth - 1))
            schema = {"type": "object", "properties": {"a": inner, "b": rest}, "required": ["a"]}
            return schema, {"a": one, "b": third}, {"a": other, "b": fourth}
        case "array":
            count = draw(st.integers(0, 3))
            return {"type": "array", "items": inner}, [one] * count, [other] * count
        case "map":
            schema = {"type": "object", "additionalProperties": inner}
            return schema, {"k": one}, {"k": other}
        case "union":
            return {draw(st.sampled_from(["anyOf", "oneOf", "allOf"])): [inner]}, one, other
        case _:
            return {"allOf": [inner, {"description": "a part"}]}, one, other


@settings(max_examples=300)
@given(cases())
def test_nothing_that_is_marked_has_an_effect_on_the_output(case: tuple[dict[str, Any], Any, Any]) -> None:
    schema, one, other = case

    assert Redaction(schema).redact(one) == Redaction(schema).redact(other)


@settings(max_examples=300)
@given(cases())
def test_a_redacted_value_is_valid_and_keeps_its_types(case: tuple[dict[str, Any], Any, Any]) -> None:
    schema, value, _ = case
    redacted = Redaction(schema).redact(value).value

    jsonschema.Draft202012Validator(schema).validate(redacted)  # pyright: ignore[reportUnknownMemberType] - partly typed
    assert types(redacted) == types(value)


def types(value: JsonValue) -> object:
    if isinstance(value, dict):
        return {name: types(member) for name, member in value.items()}
    return [types(item) for item in value] if isinstance(value, list) else type(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text().map(lambda text: SECRET + text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
ANY_SCHEMA: st.SearchStrategy[Any] = st.sampled_from(  # Any: JSON Schema
    [
        True,
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "properties": {"a": True, "b": {"type": "object"}}},
        {"properties": {"a": {"x-sensitive": True}}},
        {"type": "array"},
        {
            "anyOf": [
                {"type": "string", "x-sensitive": True},
                {"type": "object", "properties": {}},
                {"type": "array"},
            ]
        },
        {"allOf": [{"$ref": "#"}, {"$ref": "#/nowhere"}]},
        {"type": "object", "additionalProperties": {}},
        {"type": "object", "additionalProperties": {"description": "anything"}},
        {"properties": {"x": {}, "list": {"items": {}}}},
        {"properties": {"x": True, "list": {"$ref": "#/$defs/any"}}, "$defs": {"any": {"title": "Any"}}},
        {"properties": {"x": {"anyOf": [{}, True]}}},
    ]
)


@given(ANY_SCHEMA, JSON)
def test_what_no_schema_declares_is_redacted(schema: Any, value: Any) -> None:
    redacted = Redaction(schema).redact({"x": value, "a@b.c": value, "list": [value]})

    assert SECRET not in json.dumps(redacted.value)
    assert "a@b.c" not in json.dumps(redacted)


TEXT: JsonValue = {"type": "string"}
HIDDEN: JsonValue = {"type": "string", "x-sensitive": True}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"properties": {"abc": TEXT}}, {"additionalProperties": HIDDEN}]},
        {"anyOf": [{"patternProperties": {"^a": TEXT}}, {"additionalProperties": HIDDEN}]},
        {"patternProperties": {r"^\p{L}+$": HIDDEN}, "additionalProperties": TEXT},
        {"patternProperties": {r"^(?!x)": HIDDEN}, "additionalProperties": TEXT},
        {"properties": {"abc": {"$ref": "#/$defs/a%20b"}}, "$defs": {"a b": HIDDEN}},
        {"properties": {"abc": {"$ref": "#/$defs/a%20b"}}, "$defs": {"a%20b": HIDDEN}},
        {
            "properties": {"abc": {"$ref": "#abc"}, "x": {"$anchor": "abc", "x-sensitive": True}},
            "type": "object",
        },
        {"properties": {"abc": TEXT}, "dependentSchemas": {"abc": {"properties": {"abc": HIDDEN}}}},
    ],
)
def test_one_schema_of_several_that_marks_a_member_is_enough(schema: JsonValue) -> None:
    assert Redaction(schema).redact({"abc": SECRET}) == ({"abc": "redacted"}, ("/abc",))


def test_names_in_an_object_without_declared_members_are_data() -> None:
    schema: JsonValue = {"type": "object", "properties": {}}

    assert Redaction(schema).redact({"ann": SECRET}) == ({}, ("/*",))


def test_members_that_are_not_declared_keep_their_names_and_types() -> None:
    schema: JsonValue = {"type": "object", "properties": {"known": {"type": "string"}}}
    stored: JsonValue = {
        "known": "k",
        "extra": "x",
        "n": 5,
        "f": 1.25,
        "o": {"s": 1},
        "l": ["s"],
        "ann@x.y": 1,
    }

    redacted = Redaction(schema).redact(stored)

    assert redacted.value == {"known": "k", "extra": "redacted", "n": 0, "f": 0.5, "o": {}, "l": []}
    assert redacted.places == ("/*", "/extra", "/f", "/l", "/n", "/o")


def test_references_lists_tuples_and_maps_are_followed() -> None:
    schema: JsonValue = {
        "type": "object",
        "properties": {
            "card": {"$ref": "#/$defs/card"},
            "cards": {"type": "array", "items": {"$ref": "#/$defs/card"}},
            "pair": {
                "type": "array",
                "prefixItems": [{"type": "string"}, {"type": "string", "x-sensitive": True}],
            },
            "byName": {"type": "object", "additionalProperties": {"$ref": "#/$defs/card"}},
            "next": {"$ref": "#"},
        },
        "$defs": {
            "card": {
                "type": "object",
                "properties": {"number": {"type": "string", "writeOnly": True}, "kind": {"type": "string"}},
            }
        },
    }
    card: dict[str, JsonValue] = {"number": SECRET, "kind": "visa"}
    stored: dict[str, JsonValue] = {
        "card": card,
        "cards": [card],
        "pair": ["a", SECRET],
        "byName": {"x": card},
        "next": {"card": card},
    }

    redacted = Redaction(schema).redact(stored)

    assert SECRET not in json.dumps(redacted)
    assert json.dumps(redacted.value).count("visa") == 4
    assert redacted.places == (
        "/byName/x/number",
        "/card/number",
        "/cards/*/number",
        "/next/card/number",
        "/pair/*",
    )


def test_a_secret_object_becomes_the_smallest_one() -> None:
    schema: JsonValue = {
        "type": "object",
        "x-sensitive": True,
        "properties": {
            "name": {"type": "string", "minLength": 12},
            "age": {"type": "integer", "minimum": 18},
            "tags": {"type": "array", "minItems": 2, "items": {"enum": ["a", "b"]}},
            "more": {"type": "string"},
        },
        "required": ["name", "age", "tags"],
    }
    redacted = Redaction(schema).redact({"name": SECRET, "age": 50, "tags": ["b", "b", "b"], "more": SECRET})

    assert redacted.value == {"name": "redactedxxxx", "age": 18, "tags": ["a", "a"]}


@pytest.mark.parametrize(
    ("pointer", "left"),
    [
        ("/lines/*/note", ["/lines/*/note"]),
        ("/lines/-/note", ["/lines/*/note"]),
        ("/lines/0/note", ["/lines/*/note"]),
        ("/who", ["/who"]),
        ("/*/x", []),
        ("/lines", ["/lines"]),
    ],
)
def test_pointers_name_what_is_secret_too(pointer: str, left: list[str]) -> None:
    line: JsonValue = {"type": "object", "properties": {"note": {"type": "string"}}}
    schema: JsonValue = {
        "type": "object",
        "properties": {"lines": {"type": "array", "items": line}, "who": {"type": "string"}},
    }

    redacted = Redaction(schema, (parse_pointer(pointer),)).redact({"lines": [{"note": "n"}], "who": "w"})

    assert list(redacted.places) == left


@pytest.mark.parametrize("text", ["", "card", "#/card", "card/number"])
def test_what_is_not_a_pointer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a JSON pointer"):
        parse_pointer(text)


def test_a_placeholder_that_cannot_be_valid_keeps_its_type() -> None:
    schema: JsonValue = {"type": "string", "pattern": "^a(?=b)[0-9]$", "x-sensitive": True}

    assert Redaction(schema).redact(SECRET).value == "redacted"


def test_schemas_that_lead_in_circles_end() -> None:
    itself: JsonValue = {"$ref": "#"}
    eight: list[JsonValue] = [itself] * 8
    both: JsonValue = {"anyOf": eight, "x-sensitive": True}
    again: JsonValue = {
        "type": "object",
        "x-sensitive": True,
        "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}},
        "required": ["a", "b"],
    }

    assert Redaction(both).redact({"x": SECRET}).value == {}
    assert SECRET not in json.dumps(Redaction(again).redact({"a": SECRET}).value)


@pytest.mark.parametrize(
    "pattern",
    [
        "^[0-9]{16}$",
        r"^\d{3}-\w+$",
        "^(foo|bar)[^x]$",
        "^a?b*c+$",
        "^(?:A|B){2,3}$",
        r"^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$",
        r"^\+[1-9]\d{6,14}$",
        r"^[^@\s]+@[^@\s]+\.[a-z]+$",
        r"^\p{L}+$",
        "x|y",
        "",
    ],
)
def test_a_text_is_written_for_common_patterns(pattern: str) -> None:
    assert matches_pattern(pattern, write_text(pattern))


@given(st.text(alphabet="ab09[](){}*+?|\\^$-.,dwsp:", max_size=20))
def test_any_pattern_gives_some_text(pattern: str) -> None:
    assert isinstance(write_text(pattern), str)
