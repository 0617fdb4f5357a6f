"""Errors and reprs name the place as the contract has it, never a validator of pydantic's."""

from __future__ import annotations

import json
import re
from types import ModuleType
from typing import Any

import pytest
from pydantic import JsonValue, ValidationError
from trellis_nats.codec import Codec
from trellis_nats.errors import InvalidPayload

from tests.support.generated import generated
from tests.unit.codegen.contracts import TEXT, JsonObject, contract

COUNT: JsonValue = {"type": "integer", "minimum": 1}


def record(**properties: JsonValue) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list[JsonValue](properties)}


def listed(schema: JsonValue) -> JsonObject:
    return {"type": "array", "items": schema}


def mapped(schema: JsonValue) -> JsonObject:
    return {"type": "object", "additionalProperties": schema}


def either(*members: JsonValue) -> JsonObject:
    return {"anyOf": [*members]}


PAIR: JsonValue = {"type": "array", "prefixItems": [COUNT, TEXT], "items": False, "minItems": 2}
CASES: dict[str, tuple[JsonValue, JsonValue, list[str], list[str]]] = {
    "integer": (COUNT, "x", ["v"], ["#/v"]),
    "union": (either(COUNT, TEXT), [], ["v.<integer>", "v.<string>"], ["#/v", "#/v"]),
    "list": (listed(COUNT), [1, 0], ["v.1"], ["#/v/1"]),
    "list in a union": (either(listed(COUNT), TEXT), [1, 0], ["v.<array>.1", "v.<string>"], ["#/v/1", "#/v"]),
    "nested list": (listed(listed(either(COUNT, TEXT))), [[1], [{}]], ["v.1.0.<integer>", "v.1.0.<string>"], ["#/v/1/0", "#/v/1/0"]),
    "map": (mapped(COUNT), {"a/b~": 0}, ["v.a/b~"], ["#/v/a~1b~0"]),
    "map in a union": (either(mapped(COUNT), {"type": "boolean"}), {"k": 0}, ["v.<object>.k", "v.<boolean>"], ["#/v/k", "#/v"]),
    "name of a member": ({"type": "object", "patternProperties": {"^x": COUNT}, "additionalProperties": False}, {"q": 1}, ["v.q.[key]"], ["#/v/q"]),
    "tuple": (PAIR, [0, 5], ["v.0", "v.1"], ["#/v/0", "#/v/1"]),
    "tuple in a union": (either(PAIR, COUNT), [0, "a"], ["v.<array>.0", "v.<integer>"], ["#/v/0", "#/v"]),
    "enumeration": (either({"enum": [1, 2]}, {"type": "boolean"}), "x", ["v.<enum>", "v.<boolean>"], ["#/v", "#/v"]),
    "enumeration of any JSON": (either({"enum": [1.5, 2]}, TEXT), 3, ["v.<number>", "v.<string>"], ["#/v", "#/v"]),
    "time": (either({"type": "string", "format": "time"}, COUNT), "x", ["v.<time>", "v.<integer>"], ["#/v", "#/v"]),
    "objects": (
        either(record(kind={"const": "a"}, x=COUNT), record(kind={"const": "b"}, y=listed(COUNT))),
        {"kind": "b", "y": [0]},
        ["v.<ItVA>.kind", "v.<ItVA>.x", "v.<ItVB>.y.0"],
        ["#/v/kind", "#/v/x", "#/v/y/0"],
    ),
    "recursion": (either({"$ref": "#"}, COUNT), {"v": []}, ["v.<It>.v.<It>", "v.<It>.v.<integer>", "v.<integer>"], ["#/v/v", "#/v/v", "#/v"]),
}  # fmt: skip
"""A schema, a wrong value, and the places that pydantic's error and ours name for the member `v`."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModuleType]:
    """Return a package for each case, so that the classes of each are called after the same schema."""
    folder = tmp_path_factory.mktemp("places")
    return {
        name: generated(contract(schemas={"It": record(v=schema)}), folder)[0]
        for name, (schema, *_) in CASES.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_errors_name_the_place_in_the_value(name: str, packages: dict[str, ModuleType]) -> None:
    _, value, steps, pointers = CASES[name]
    model: Any = packages[name].It
    text = json.dumps({"v": value})

    with pytest.raises(ValidationError) as raised:
        model.model_validate_json(text)
    with pytest.raises(InvalidPayload) as refused:
        Codec[object](model, what="The payload").decode(text.encode())

    assert [".".join(map(str, each["loc"])) for each in raised.value.errors()] == steps
    assert [place for place, _ in refused.value.issues] == pointers
    assert not re.search(r"function|lambda|<function|\[\w+\[", f"{raised.value}{refused.value}")


def test_an_issue_names_the_class_that_the_value_was_read_as(packages: dict[str, ModuleType]) -> None:
    model: Any = packages["objects"].It

    with pytest.raises(InvalidPayload) as refused:
        Codec[object](model, what="The payload").decode(b'{"v": {"kind": "b"}}')

    assert ("#/v/y", "Field required (as ItVB)") in refused.value.issues


def test_a_value_of_a_union_at_the_root_has_its_place(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    schemas: JsonValue = {"It": either(listed(record(t=COUNT)), COUNT)}
    package, _ = generated(contract(schemas=schemas), tmp_path_factory.mktemp("root"))

    with pytest.raises(InvalidPayload) as refused:
        Codec[object](package.It, what="The payload").decode(b'[{"t": 0}]')

    assert [place for place, _ in refused.value.issues] == ["#/0/t", "#"]


def test_a_nested_object_is_shown_under_the_name_that_users_import(packages: dict[str, ModuleType]) -> None:
    package = packages["objects"]

    value = package.It.model_validate({"v": {"kind": "a", "x": 1}})

    assert repr(value) == "It(v=ItVA(kind='a', x=1))"
