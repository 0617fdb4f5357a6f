"""Schemas that are merged, at the root or further down, keep what all their parts say, or a warning names the place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from tests.support.generated import adapter, generated
from tests.support.judging import judge_of
from tests.unit.codegen.contracts import TEXT, JsonObject, contract, manifest
from tests.unit.codegen.test_agreement import FEW, SCHEMAS, accepts, candidates, lists, objects, written
from trellis_codegen.plan.models import plan_models
from trellis_codegen.problems import Problem

WHOLE: JsonValue = {"type": "integer"}
BOOLEAN: JsonValue = {"type": "boolean"}


def record(**properties: JsonValue) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list[JsonValue](properties)}


def listed(schema: JsonValue) -> JsonObject:
    return {"type": "array", "items": schema}


def mapped(schema: JsonValue) -> JsonObject:
    return {"type": "object", "additionalProperties": schema}


def either(*schemas: JsonValue) -> JsonObject:
    return {"anyOf": list(schemas)}


def both(one: JsonValue, other: JsonValue) -> JsonObject:
    return {"allOf": [one, other]}


def pattern(text: str) -> JsonObject:
    return {"type": "string", "pattern": text}


def alternatives(*names: str) -> JsonObject:
    members: list[JsonValue] = [{"required": [name]} for name in names]
    return {"anyOf": members}


EXACT: list[tuple[JsonValue, list[JsonValue], list[JsonValue]]] = [
    (both(either(WHOLE, BOOLEAN), either(TEXT, WHOLE)), [1], [True, "a"]),
    (both(listed(either(WHOLE, BOOLEAN)), listed(either(TEXT, WHOLE))), [[], [1]], [["a"], [True]]),
    (both(mapped(either(WHOLE, BOOLEAN)), mapped(either(TEXT, WHOLE))), [{}, {"k": 1}], [{"k": "a"}, {"k": True}]),
    (both(record(n=either(WHOLE, BOOLEAN)), record(n=either(TEXT, WHOLE))), [{"n": 1}], [{"n": "a"}, {"n": True}, {}]),
    (both(record(n=record(m=either(WHOLE, BOOLEAN))), record(n=record(m=either(TEXT, WHOLE)))), [{"n": {"m": 1}}], [{"n": {"m": "a"}}, {"n": {}}]),
    ({**record(n=TEXT), "allOf": [alternatives("a", "b"), alternatives("c", "d")]}, [{"n": "x", "a": 1, "c": 1}, {"n": "x", "b": 1, "d": 1}], [{"n": "x", "a": 1, "b": 1}, {"n": 1, "a": 1, "c": 1}, 1]),
    (both({"oneOf": [WHOLE, TEXT]}, {"oneOf": [TEXT, BOOLEAN]}), ["a"], [1, True]),
    (both({"allOf": [either(WHOLE, TEXT)], **either(TEXT, BOOLEAN)}, {"minLength": 2, "type": ["string", "null"]}), ["ab"], ["a", None, 1]),
    (both({"type": "array", "prefixItems": [WHOLE, TEXT], "minItems": 2, "items": False}, {"type": "array", "items": {"type": ["integer", "string"], "minimum": 1, "minLength": 1}}), [[1, "a"]], [[0, "a"], [1, ""], [1]]),
    (both({"type": "array", "prefixItems": [WHOLE], "minItems": 1, "items": False}, {"type": "array", "prefixItems": [{"type": "number", "minimum": 1}], "minItems": 1, "items": False}), [[1]], [[0], [1.5]]),
    (record(n=both({"type": "array", "prefixItems": [WHOLE], "minItems": 1, "maxItems": 2, "items": False}, {"type": "array", "maxItems": 3})), [{"n": [1]}], [{"n": [1, 1]}, {"n": []}]),
    (both({"type": "object", "patternProperties": {"^a": TEXT}, "additionalProperties": False}, {"type": "object", "patternProperties": {"^a": {"type": "string", "minLength": 2}}, "additionalProperties": False}), [{"a": "xx"}], [{"a": "x"}, {"b": "xx"}]),
    (both({**record(a=TEXT), "additionalProperties": False}, record(a={"type": "string", "minLength": 2})), [{"a": "xx"}], [{"a": "x"}, {"a": "xx", "b": 1}]),
    ({"properties": {"a": TEXT}, "minLength": 2}, ["ab", {}, {"a": "x"}, 1, None, []], ["a", {"a": 1}]),
    (both(record(n={"enum": ["a", "b", 1]}), record(n={"enum": ["b", 1.0, "c"]})), [{"n": "b"}, {"n": 1}], [{"n": "a"}, {"n": "c"}]),
    (both(record(n=either(record(a=TEXT), record(b=TEXT))), record(n=either(record(c=WHOLE), record(d=WHOLE)))), [{"n": {"a": "x", "c": 1}}, {"n": {"b": "x", "d": 1}}], [{"n": {"a": "x", "b": "y"}}, {"n": {"c": 1}}]),
]  # fmt: skip
"""Merges that models express, with right and wrong values."""


def test_what_models_can_express_is_enforced_without_a_warning(tmp_path: Path) -> None:
    schemas: JsonObject = {f"S{index}": schema for index, (schema, _, _) in enumerate(EXACT)}
    package, remarks = generated(contract(schemas=schemas), tmp_path)

    assert [remark.what for remark in remarks] == []
    for index, (schema, right, wrong) in enumerate(EXACT):
        model, judge = adapter(package, f"S{index}"), judge_of(schema)
        assert [value for value in right if not (judge.is_valid(value) and accepts(model, value))] == [], (
            schema
        )
        assert [value for value in wrong if judge.is_valid(value) or accepts(model, value)] == [], schema


PARTIAL: list[tuple[JsonObject, list[str]]] = [
    ({**record(n={"$ref": "#/$defs/s", "pattern": "b"}), "$defs": {"s": pattern("a")}}, ["properties/n/pattern"]),
    (both(pattern("a"), pattern("b")), ["allOf/1/pattern"]),
    (both(record(n=pattern("a")), record(n=pattern("b"))), ["allOf/1/properties/n/pattern"]),
    (both(listed(pattern("a")), listed(pattern("b"))), ["allOf/1/items/pattern"]),
    (both(mapped(pattern("a")), mapped(pattern("b"))), ["allOf/1/additionalProperties/pattern"]),
    (both(record(n=listed(pattern("a"))), record(n=listed(pattern("b")))), ["allOf/1/properties/n/items/pattern"]),
    ({**pattern("a"), **either(pattern("b"), WHOLE)}, ["anyOf/0/pattern"]),
    (both(record(n={"type": "string", "format": "date"}), record(n={"pattern": "^2"})), ["allOf/1/properties/n/pattern"]),
    (both(record(n={"type": "string", "format": "date"}), record(n={"type": "string", "format": "uuid"})), ["allOf/1/properties/n/format"]),
    (record(n=both({"type": "array", "prefixItems": [WHOLE]}, listed(WHOLE))), ["properties/n/allOf/0/prefixItems"]),
    (both({"type": "object", "patternProperties": {"^a": TEXT}}, {"type": "object", "patternProperties": {"^b": WHOLE}}), ["allOf/1/patternProperties"]),
    ({**record(n=TEXT, next={"$ref": "#", "required": ["more"]}), "required": []}, ["properties/next/$ref"]),
]  # fmt: skip
"""Merges that models do not express, with the places of the warnings."""


@pytest.mark.parametrize(("schema", "places"), PARTIAL)
def test_what_models_cannot_express_is_reported_where_it_stands(
    schema: JsonObject, places: list[str]
) -> None:
    assert [shown(remark) for remark in plan_models(manifest(contract(schemas={"It": schema})))[1]] == places


def shown(remark: Problem) -> str:
    assert remark.pointer[:2] == ("schemas", "It")
    return "/".join(map(str, remark.pointer[2:]))


def test_one_keyword_never_makes_a_payload_any_json(tmp_path: Path) -> None:
    schema: JsonObject = {"allOf": [record(n=pattern("a")), record(n=pattern("b"), m=WHOLE)]}
    package, _ = generated(contract(schemas={"It": schema}), tmp_path)
    model = adapter(package, "It")

    assert accepts(model, {"n": "ab", "m": 1})
    for wrong in ({"n": "c", "m": 1}, {"n": "ab"}, {"n": 1, "m": 1}, {"n": "ab", "m": "x"}, 1):
        with pytest.raises(ValidationError):
            model.validate_json(json.dumps(wrong), strict=True)


def test_a_list_with_positions_that_may_not_have_that_many_matches_nothing(tmp_path: Path) -> None:
    pair: JsonObject = {"type": "array", "prefixItems": [WHOLE, {}], "minItems": 2, "items": False}
    schema = both(pair, {"type": "array", "maxItems": 0})
    values: list[JsonValue] = [[], [1], [1, 2]]

    package, _ = generated(contract(schemas={"S": schema}), tmp_path)

    assert [value for value in values if accepts(adapter(package, "S"), value)] == []


def placed(place: str, one: JsonValue, other: JsonValue) -> JsonObject:
    """Return a schema that merges two others at a place."""
    ours: JsonObject = one if isinstance(one, dict) else {}
    theirs: JsonObject = other if isinstance(other, dict) else {}
    places: dict[str, JsonObject] = {
        "root": both(one, other),
        "property": both({"type": "object", "properties": {"id": one}}, {"type": "object", "properties": {"id": other}}),
        "element": both(listed(one), listed(other)),
        "value": both(mapped(one), mapped(other)),
        "reference": {"type": "object", "properties": {"id": {"$ref": "#/$defs/it", **theirs}}, "$defs": {"it": one}},
        "siblings": {**ours, "allOf": [other]},
    }  # fmt: skip
    return places[place]


ALIKE = (
    st.tuples(objects(SCHEMAS), objects(SCHEMAS))
    | st.tuples(lists(SCHEMAS), lists(SCHEMAS))
    | st.tuples(SCHEMAS, SCHEMAS)
)
PLACES = st.sampled_from(["root", "property", "element", "value", "reference", "siblings"])
MERGES: st.SearchStrategy[JsonValue] = st.tuples(PLACES, ALIKE).map(lambda drawn: placed(drawn[0], *drawn[1]))


@pytest.mark.timeout(300)
@settings(
    max_examples=FEW,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(st.data())
def test_no_merge_loses_anything_silently(tmp_path: Path, data: st.DataObject) -> None:
    schemas: JsonObject = {f"S{index}": data.draw(MERGES) for index in range(6)}
    package, remarks = generated(contract(schemas=schemas), tmp_path)
    reported = {remark.pointer[1] for remark in remarks if "no value can match" not in remark.what}

    for name in schemas.keys() - reported:
        schema = schemas[name]
        model, judge = adapter(package, name), judge_of(schema)
        for _ in range(8):
            value = data.draw(candidates(schema))
            assert accepts(model, value) == judge.is_valid(value), (schema, value)
            if judge.is_valid(value):
                assert judge.is_valid(written(model, value)), (schema, value)
