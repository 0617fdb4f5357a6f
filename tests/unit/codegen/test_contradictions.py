"""Keywords of a schema that contradict each other are reported, and nothing else is."""

import pytest
from pydantic import JsonValue

from tests.unit.codegen.contracts import TEXT
from trellis_codegen.problems import json_pointer
from trellis_codegen.schemas.contradictions import find_contradictions

OPEN: dict[str, JsonValue] = {"type": "object", "properties": {"thingId": TEXT, "size": TEXT}}
CLOSED: dict[str, JsonValue] = {**OPEN, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "keyword", "what", "hint"),
    [
        ({"minimum": 5, "maximum": 3}, "maximum", '"minimum" is 5, and "maximum" is 3', None),
        ({"exclusiveMinimum": 3, "maximum": 3}, "maximum", "no value matches", None),
        ({"minLength": 2, "maxLength": 1}, "maxLength", "no value matches", None),
        ({"type": "string", "enum": [1, 2]}, "enum", "no value matches", None),
        ({"type": "string", "const": 1}, "const", "no value matches", None),
        ({"type": "string", "enum": ["a", 1]}, "enum", "1 never matches", None),
        ({"type": "string", "enum": ["a", None]}, "enum", "null never matches", 'write "type": ["string", "null"]'),
        ({"type": "integer", "minLength": 1}, "minLength", "says nothing about values of the type integer", None),
        ({**CLOSED, "required": ["kind"]}, "required", 'does not declare "kind", and', None),
        ({**OPEN, "required": ["thingid"]}, "required", 'does not declare "thingid"', 'did you mean "thingId"?'),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_at_its_keyword(
    schema: JsonValue, keyword: str, what: str, hint: str | None
) -> None:
    (found,) = find_contradictions({"items": schema}, ())

    assert (json_pointer(found.pointer), found.hint) == (f"/items/{keyword}", hint)
    assert what in found.what


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 3, "maximum": 3, "enum": [3]},
        {"type": ["string", "null"], "enum": ["a", None], "minLength": 1},
        {"type": "integer", "format": "int64"},
        {**OPEN, "required": ["thingId", "kind"]},
        {**OPEN, "required": ["thingId", "size", "thingid"]},
        {**CLOSED, "required": ["x-a"], "patternProperties": {"^x-": TEXT}},
        {"required": ["kind"], "minLength": 3, "maximum": 1},
    ],
)
def test_what_may_be_meant_is_not_reported(schema: JsonValue) -> None:
    assert [*find_contradictions(schema, ())] == []
