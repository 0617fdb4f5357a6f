"""What generated classes inherit is not hidden by what a contract names."""

import abc
import builtins
import inspect
import json
import keyword
import warnings
from pathlib import Path

import pytest
import trellis_nats
from pydantic import BaseModel, JsonValue
from trellis_nats import json_types

from tests.support.generated import adapter, generated
from tests.unit.codegen.contracts import JsonObject, contract, job, manifest, rpc
from trellis_codegen import naming
from trellis_codegen.plan.imports import HOMES
from trellis_codegen.plan.jobs import FACADE_NAMES
from trellis_codegen.plan.package import plan_package
from trellis_codegen.render.package import render_package


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_a_queue_hides_nothing_of_the_runtimes_facade() -> None:
    assert public(trellis_nats.Jobs) <= FACADE_NAMES


@pytest.mark.parametrize("name", sorted(public(BaseModel) | public(type(BaseModel))))
def test_a_field_hides_nothing_of_pydantic(name: str) -> None:
    assert naming.field(name) == f"{name}_"


def test_a_schema_may_have_the_name_of_the_packages_contract(tmp_path: Path) -> None:
    package, _ = generated(contract(schemas={"CONTRACT": {"type": "object"}}), tmp_path)

    assert package.CONTRACT.id == "things-service@v1"
    assert package.CONTRACT_() is not None


KINDS: list[tuple[JsonValue, JsonValue]] = [
    ({"type": "string", "minLength": 1}, "a"),
    ({"type": "integer"}, 1),
    ({"type": "array", "items": {"type": "number"}}, [1.5]),
    ({"type": "string", "format": "date"}, "2026-11-23"),
    ({"type": "array", "prefixItems": [{"type": "boolean"}], "minItems": 1, "maxItems": 1}, [True]),
    ({"type": "object", "additionalProperties": {"type": "boolean"}}, {"a": True}),
    ({"type": "object", "properties": {"x": {"type": "string"}}}, {"x": "a"}),
]
"""Schemas whose annotations use different names, each with a value."""


def awkward_names() -> list[str]:
    """Return every name that something of Python, pydantic or the runtime has, each with a field of its own."""
    kinds = (
        trellis_nats.Model,
        type(BaseModel),
        abc.ABCMeta,
        type,
        trellis_nats.DeclaredError,
        trellis_nats.Jobs,
    )
    names = {name for kind in kinds for name in dir(kind)}
    names |= {
        *keyword.kwlist,
        *keyword.softkwlist,
        *dir(builtins),
        *json_types.__all__,
        *trellis_nats.__all__,
    }
    names |= {
        "",
        "_",
        "__",
        "$",
        "@",
        "self",
        "cls",
        "cast",
        "annotations",
        "model_",
        "model_x",
        "root",
        "spec",
    }
    return list({naming.field(name): name for name in sorted(names)}.values())


def test_a_property_may_have_any_name(tmp_path: Path) -> None:
    names = awkward_names()
    properties: JsonObject = {name: KINDS[index % len(KINDS)][0] for index, name in enumerate(names)}
    value: JsonObject = {name: KINDS[index % len(KINDS)][1] for index, name in enumerate(names)}
    thing: JsonValue = {"type": "object", "properties": properties}
    errors: JsonValue = {"gone": {"type": "Gone", "schema": {"schema": "Thing"}}}
    calls: JsonValue = {"Get": rpc("Get", errors=[{"type": "Gone"}])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        package, _ = generated(contract(schemas={"Thing": thing}, errors=errors, rpc=calls), tmp_path)
        model = adapter(package, "Thing")

        read = model.validate_json(json.dumps(value), strict=True)

    assert json.loads(model.dump_json(read)) == value
    # Its arguments are keywords: a parameter that hides what the body uses would fail here.
    parameters = inspect.signature(package.Gone).parameters.values()
    error = package.Gone(**{each.name: "a" for each in parameters if each.kind is each.KEYWORD_ONLY})
    assert error.message == "gone"
    assert error.property_ == "a"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("_", "underscore"), ("$", "dollar"), ("@", "at"), ("", "empty"), ("__", "underscore_underscore"), ("__mro__", "mro_"), ("__class__", "class_")],
)  # fmt: skip
def test_a_name_of_punctuation_is_spelled_out(name: str, expected: str) -> None:
    assert naming.field(name) == expected


def test_a_class_hides_nothing_that_generated_files_import() -> None:
    assert [
        name for name in HOMES if naming.pascal(name) == name and naming.class_name(name) != f"{name}_"
    ] == []


def test_a_queue_with_updates_is_generic_in_them() -> None:
    schemas: JsonValue = {"Thing": {"type": "object", "properties": {}}, "Step": {"enum": ["a", "b"]}}
    jobs: JsonValue = {"keep": job(update={"schema": "Step"}), "follow": job(result={"schema": "Step"})}
    document = contract(schemas=schemas, jobs=jobs)
    plan, _ = plan_package(manifest(document), source=json.dumps("x"), package=None, generator="0")

    text = render_package(plan)["jobs.py"]

    assert "KeepJob: TypeAlias = ActiveJob[Thing, None, Step]" in text
    assert "class KeepQueue(JobQueue[Thing, None, Step]):" in text
    assert "update=Step," in text
    assert "class FollowQueue(JobQueue[Thing, Step]):" in text
    assert "self.follow_: Final = FollowQueue(runtime)" in text
