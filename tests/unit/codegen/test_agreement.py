"""Generated models and the `jsonschema` library agree on what a schema allows, and what a model writes is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter, ValidationError

from tests.support.generated import adapter, generated
from tests.support.judging import judge_of
from tests.unit.codegen.contracts import JsonObject, contract
from trellis_codegen.rule_ids import Rule

FEW = settings().max_examples // 3
"""How many examples are taken of what costs a generated package each: more with the profile of `make faults`."""
NAMES = st.sampled_from(["id", "orderId", "class", "copy"])
WORDS = st.sampled_from(["", "a", "ab", "abc", "x-1", "5"])
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 6, 1.0, 2.0, 1.5, -0.5, 2**70])
LEAVES: st.SearchStrategy[JsonValue] = st.none() | st.booleans() | WORDS | NUMBERS
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


def some(**keywords: st.SearchStrategy[JsonValue]) -> st.SearchStrategy[JsonObject]:
    return st.fixed_dictionaries({}, optional=keywords)


COUNTS: st.SearchStrategy[JsonValue] = st.integers(0, 3)
LIMITS: st.SearchStrategy[JsonValue] = st.sampled_from([-1, 0, 1, 2, 0.5, 2.0])
TEXTS = some(minLength=COUNTS, maxLength=COUNTS, pattern=st.sampled_from(["^a", "b", "^[a-z]+$"])).map(
    lambda keywords: {"type": "string", **keywords}
)
INTEGERS = some(
    minimum=LIMITS, maximum=LIMITS, exclusiveMinimum=LIMITS, exclusiveMaximum=LIMITS, multipleOf=st.sampled_from([1, 2, 1.5])
).map(lambda keywords: {"type": "integer", **keywords})  # fmt: skip
FLOATS = some(minimum=LIMITS, exclusiveMaximum=LIMITS).map(lambda keywords: {"type": "number", **keywords})
PLAIN: st.SearchStrategy[JsonValue] = st.sampled_from(
    [True, False, {}, {"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"], "minLength": 1}, {"type": ["integer", "boolean"], "minimum": 1}]
)  # fmt: skip


def enumerated(values: list[JsonValue]) -> JsonObject:
    return {"enum": values}


def constant(value: JsonValue) -> JsonObject:
    return {"const": value}


CONSTANTS = st.lists(VALUES, min_size=1, max_size=3).map(enumerated) | VALUES.map(constant)


def objects(inner: st.SearchStrategy[JsonValue]) -> st.SearchStrategy[JsonObject]:
    required: st.SearchStrategy[JsonValue] = st.lists(NAMES, max_size=2, unique=True).map(list[JsonValue])
    properties: st.SearchStrategy[JsonValue] = st.dictionaries(NAMES, inner, max_size=3)
    more: st.SearchStrategy[JsonValue] = st.booleans() | inner
    return some(properties=properties, required=required, additionalProperties=more).map(
        lambda keywords: {"type": "object", **keywords}
    )


def lists(inner: st.SearchStrategy[JsonValue]) -> st.SearchStrategy[JsonObject]:
    plain = some(items=inner, minItems=COUNTS, maxItems=COUNTS)
    pairs = st.lists(inner, min_size=2, max_size=2).map(
        lambda both: {"prefixItems": both, "minItems": 2, "items": False}
    )
    return (plain | pairs).map(lambda keywords: {"type": "array", **keywords})


def combined(inner: st.SearchStrategy[JsonValue]) -> st.SearchStrategy[JsonObject]:
    members = st.lists(inner, min_size=1, max_size=3)
    nothing: JsonObject = {}
    others = st.just(nothing) | objects(inner)
    return st.builds(joined, st.sampled_from(["anyOf", "allOf", "oneOf"]), members, others)


def joined(keyword: str, members: list[JsonValue], others: JsonObject) -> JsonObject:
    return {**others, keyword: members}


SCHEMAS: st.SearchStrategy[JsonValue] = st.recursive(
    TEXTS | INTEGERS | FLOATS | PLAIN | CONSTANTS,
    lambda inner: objects(inner) | lists(inner) | combined(inner),
    max_leaves=5,
)


def candidates(schema: JsonValue) -> st.SearchStrategy[JsonValue]:
    """Return values that have a chance to match a schema, and others."""
    if not isinstance(schema, dict):
        return VALUES
    chances: list[st.SearchStrategy[JsonValue]] = [VALUES]
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list):
        chances.append(st.sampled_from(values))
    properties = schema.get("properties")
    if isinstance(properties, dict):
        members = {name: candidates(each) for name, each in properties.items()}
        chances += [st.fixed_dictionaries({}, optional=members), st.fixed_dictionaries(members)]
    if isinstance(items := schema.get("items"), dict):
        chances.append(st.lists(candidates(items), max_size=3))
    if isinstance(prefix := schema.get("prefixItems"), list):
        chances.append(st.tuples(*map(candidates, prefix)).map(list[JsonValue]))
    for keyword in ("anyOf", "allOf", "oneOf"):
        if isinstance(parts := schema.get(keyword), list):
            chances += [candidates(part) for part in parts]
    return st.one_of(chances)


def accepts(model: TypeAdapter[object], value: JsonValue) -> bool:
    try:
        model.validate_json(json.dumps(value), strict=True, by_name=False, by_alias=True)
    except ValidationError:
        return False
    return True


def written(model: TypeAdapter[object], value: JsonValue) -> JsonValue:
    read = model.validate_json(json.dumps(value), strict=True, by_name=False, by_alias=True)
    result: JsonValue = json.loads(model.dump_json(read, exclude_unset=True))
    return result


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
def test_models_and_jsonschema_agree(tmp_path: Path, data: st.DataObject) -> None:
    schemas = {f"S{index}": data.draw(SCHEMAS) for index in range(4)}
    package, remarks = generated(contract(schemas=schemas), tmp_path)
    reported = {each.pointer[1] for each in remarks if each.rule != Rule.DOUBTFUL_SCHEMA}

    for name, schema in schemas.items():
        model, judge = adapter(package, name), judge_of(schema)
        for _ in range(6):
            value = data.draw(candidates(schema))
            if accepts(model, value) != judge.is_valid(value):
                assert name in reported, (schema, value, judge.is_valid(value))
            elif judge.is_valid(value) and name not in reported:
                assert judge.is_valid(written(model, value)), (schema, value, written(model, value))


KEYWORDS: list[tuple[str, JsonObject, list[JsonValue], list[JsonValue]]] = [
    ("type string", {"type": "string"}, ["", "a"], [1, None, True, [], {}]),
    ("type integer", {"type": "integer"}, [1, 1.0, -5, 2**70], [1.5, "1", True, None]),
    ("type number", {"type": "number"}, [1, 1.5, -0.0], ["1", True, None]),
    ("type boolean", {"type": "boolean"}, [True, False], [0, 1, "true", None]),
    ("type null", {"type": "null"}, [None], [0, "", False]),
    ("type array", {"type": "array"}, [[], [1, "a", None]], [{}, "a", None]),
    ("type object", {"type": "object"}, [{}, {"a": None}], [[], "a", None]),
    ("type list", {"type": ["string", "null"], "minLength": 2}, ["ab", None], ["a", 1]),
    ("minLength", {"type": "string", "minLength": 2}, ["ab", "é€"], ["a"]),
    ("maxLength", {"type": "string", "maxLength": 2}, ["", "😀😀"], ["abc"]),
    ("pattern", {"type": "string", "pattern": "^a+$"}, ["a", "aa"], ["", "ba"]),
    ("minimum", {"type": "integer", "minimum": 1}, [1, 2], [0, -1]),
    ("maximum", {"type": "number", "maximum": 1.5}, [1.5, 0], [1.6]),
    ("exclusiveMinimum", {"type": "number", "exclusiveMinimum": 0}, [0.1], [0, -1]),
    ("exclusiveMaximum", {"type": "integer", "exclusiveMaximum": 0}, [-1], [0, 1]),
    ("multipleOf", {"type": "integer", "multipleOf": 3}, [0, 3, -6], [1, 4]),
    ("items", {"type": "array", "items": {"type": "string"}}, [[], ["a"]], [[1], ["a", None]]),
    ("minItems", {"type": "array", "minItems": 1}, [[1]], [[]]),
    ("maxItems", {"type": "array", "maxItems": 1}, [[], [1]], [[1, 2]]),
    ("prefixItems", {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2, "items": False}, [["a", 1]], [["a"], [1, "a"], ["a", 1, 2]]),
    ("prefixItems and maxItems", {"type": "array", "prefixItems": [{"type": "string"}], "minItems": 1, "maxItems": 3, "items": False}, [["a"]], [[], ["a", "b"]]),
    ("properties", {"type": "object", "properties": {"a": {"type": "string"}}}, [{}, {"a": "x"}, {"b": 1}], [{"a": 1}, {"a": None}]),
    ("required", {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]}, [{"a": "x", "b": None}], [{}, {"a": "x"}]),
    ("additionalProperties false", {"type": "object", "properties": {"a": {}}, "additionalProperties": False}, [{}, {"a": 1}], [{"b": 1}]),
    ("additionalProperties schema", {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "integer"}}, [{"a": "x", "b": 1}], [{"b": "x"}]),
    ("a map", {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}, [{}, {"x": 1}], [{"x": 0}, {"x": "a"}]),
    ("patternProperties", {"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False}, [{"xa": 1}], [{"a": 1}, {"xa": "b"}]),
    ("enum", {"enum": ["a", 1, None, 1.5, [1], {"b": True}]}, ["a", 1, 1.0, None, 1.5, [1], {"b": True}], ["b", 2, True, [2], {"b": 1}]),
    ("enum of integers", {"enum": [0, 1]}, [0, 1, 1.0], [True, False, 2, "1"]),
    ("enum of large integers", {"enum": [2**63, 2**70, 1]}, [2**63, 2**70, 1, 1.0], [2, 2**70 + 1, True, "1"]),
    ("enum of large integers and text", {"enum": [2**70, "a", None]}, [2**70, "a", None], [1, "b"]),
    ("const of a large integer", {"const": -(2**63) - 1}, [-(2**63) - 1], [1]),
    ("const", {"const": {"a": [1, "x"]}}, [{"a": [1, "x"]}], [{"a": [1]}, {}]),
    ("const true", {"const": True}, [True], [1, "true", None]),
    ("anyOf", {"anyOf": [{"type": "string", "minLength": 2}, {"type": "integer"}]}, ["ab", 1], ["a", 1.5, None]),
    ("oneOf", {"oneOf": [{"type": "string"}, {"type": "integer"}]}, ["a", 1], [None, 1.5]),
    ("allOf", {"allOf": [{"type": "integer", "minimum": 1}, {"type": "number", "maximum": 3}]}, [1, 3], [0, 4, 1.5]),
    ("allOf of objects", {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"type": "object", "properties": {"b": {"type": "integer"}}}]}, [{"a": "x"}, {"a": "x", "b": 1}], [{"b": 1}, {"a": "x", "b": "y"}]),
    ("keywords next to anyOf", {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"b": {"type": "integer"}}, "required": ["b"]}, {"required": ["a"]}]}, [{"b": 1}, {"a": "x"}, {"a": "x", "b": "no"}], [{}, {"b": "x"}, {"a": 1, "b": 1}]),
    ("$ref", {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}, [{"a": 1}, {}], [{"a": "x"}]),
    ("recursive $ref", {"type": "object", "properties": {"next": {"$ref": "#"}, "v": {"type": "integer"}}, "required": ["v"]}, [{"v": 1}, {"v": 1, "next": {"v": 2}}], [{"v": 1, "next": {}}]),
    ("format date-time", {"type": "string", "format": "date-time"}, ["2026-11-23T00:00:00Z", "2026-11-23T01:02:03.5+02:00", "2016-12-31T23:59:60Z"], ["now", 5, "2026-11-23T00:00:00+0000", "5"]),
    ("format date", {"type": "string", "format": "date"}, ["2026-11-23"], ["23.11.2026", 5]),
    ("format uuid", {"type": "string", "format": "uuid"}, ["2a1b2c3d-0000-4000-8000-000000000000"], ["2a1b", 5, "urn:uuid:2a1b2c3d-0000-4000-8000-000000000000", "2a1b2c3d000040008000000000000000"]),
    ("format time", {"type": "string", "format": "time"}, ["12:30:00Z", "12:30:00+02:00"], ["noon", 5]),
    ("format next to enum", {"type": ["string", "null"], "format": "date", "enum": ["2026-11-23", "2026-02-30", "soon", None]}, ["2026-11-23", None], ["2026-02-30", "soon"]),
    ("format and const in allOf", {"allOf": [{"type": "string", "format": "uuid"}, {"const": "2a1b"}]}, [], ["2a1b"]),
    ("true", {"anyOf": [True]}, [1, None, "a", {}], []),
    ("false", {"anyOf": [False]}, [], [1, None, "a", {}]),
]  # fmt: skip
"""Each keyword that docs/reference/schemas.md lists as enforced."""


@pytest.fixture(scope="module")
def keyword_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TypeAdapter[object]]:
    schemas: JsonObject = {f"S{index}": schema for index, (_, schema, _, _) in enumerate(KEYWORDS)}
    package, remarks = generated(contract(schemas=schemas), tmp_path_factory.mktemp("keywords"))
    assert [each.what for each in remarks if each.rule != Rule.DOUBTFUL_SCHEMA] == []
    return {name: adapter(package, name) for name in schemas}


@pytest.mark.parametrize("index", range(len(KEYWORDS)), ids=[name for name, *_ in KEYWORDS])
def test_a_keyword_is_enforced_as_jsonschema_does(
    index: int, keyword_models: dict[str, TypeAdapter[object]]
) -> None:
    name, schema, right, wrong = KEYWORDS[index]
    model, judge = keyword_models[f"S{index}"], judge_of(schema)

    assert [each for each in right if not accepts(model, each)] == []
    assert [each for each in wrong if accepts(model, each)] == []
    if not name.startswith("format"):
        assert all(map(judge.is_valid, right))
        assert not any(map(judge.is_valid, wrong))
    assert all(judge.is_valid(written(model, each)) for each in right)
