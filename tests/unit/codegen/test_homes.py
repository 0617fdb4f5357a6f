"""Equal objects are one class; the names that users import depend on the schema that they stand in, and on nothing else."""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from tests.support.generated import generated
from tests.unit.codegen.contracts import TEXT, JsonObject, contract, manifest
from tests.unit.codegen.test_agreement import FEW
from trellis_codegen.plan.models import ModelModule, ModelsPlan, plan_models
from trellis_codegen.problems import ProblemsFound, Severity, place

NUMBER: JsonValue = {"type": "number"}


def record(**properties: JsonValue) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list[JsonValue](properties)}


def listed(schema: JsonValue) -> JsonObject:
    return {"type": "array", "items": schema}


LINE = record(productId=TEXT, quantity=NUMBER)


def models(**schemas: JsonValue) -> ModelsPlan:
    return plan_models(manifest(contract(schemas=schemas)))[0]


def homes(**schemas: JsonValue) -> dict[str, str]:
    """Return for each path name where its class is defined: `ALine` → `b.BItem`."""
    modules = {module.module: module for module in models(**schemas).modules}
    return {
        name: f"{home.schema.lower()}.{home.name}"
        for module in modules.values()
        for name, home in module.homes.items()
    }


def test_an_object_is_defined_where_it_first_occurs_and_named_by_its_path_elsewhere() -> None:
    found = homes(B=record(lines=listed(LINE)), A=record(items=listed(LINE), main=LINE))

    assert found == {"B": "b.B", "BLine": "b.BLine", "A": "a.A", "AItem": "b.BLine", "AMain": "b.BLine"}


@pytest.mark.parametrize("mark", ["writeOnly", "x-sensitive"])
def test_marks_of_secrets_are_words_and_change_no_type(mark: str) -> None:
    secret: JsonValue = {"type": "string", mark: True}
    schemas: JsonObject = {"A": record(line=record(note=TEXT)), "B": record(line=record(note=secret))}
    planned, warnings = plan_models(manifest(contract(schemas=schemas)))

    assert warnings == []
    assert {name: home.schema for module in planned.modules for name, home in module.homes.items()}[
        "BLine"
    ] == "A"


def test_an_object_that_equals_a_named_schema_is_its_class() -> None:
    found = homes(A=record(event=record(inner=LINE)), Shipped=record(inner=LINE))

    assert found["AEvent"] == "shipped.Shipped"
    assert found["AEventInner"] == found["ShippedInner"] == "shipped.ShippedInner"


def test_what_a_schema_embeds_is_defined_before_it_whatever_comes_first_in_the_contract() -> None:
    order = record(line=LINE)

    found = homes(Page=record(orders=listed(order), hint=LINE), Order=order)

    assert found["PageHint"] == "order.OrderLine"


TWINS: list[JsonValue] = [
    {
        "required": ["quantity", "productId"],
        "properties": {"quantity": NUMBER, "productId": TEXT},
        "type": "object",
    },
    {**LINE, "description": "One line.", "title": "Line", "examples": [{}], "$comment": "x"},
    record(productId={"type": "string", "description": "Which."}, quantity={"type": "number", "title": "Q"}),
    {"allOf": [LINE, {"description": "One line."}]},
    {"$ref": "#/$defs/line"},
]


@pytest.mark.parametrize("twin", TWINS)
def test_order_descriptions_and_references_make_no_other_class(twin: JsonValue) -> None:
    holder: JsonValue = {**record(line=twin), "$defs": {"line": LINE}}

    found = homes(A=record(line=LINE), B=holder)

    assert found["BLine"] == "a.ALine"


OTHERS: list[JsonValue] = [
    record(productId=TEXT, quantity={"type": "number", "minimum": 1}),
    record(productId=TEXT, quantity={"type": "integer"}),
    {**LINE, "required": ["quantity"]},
    {**LINE, "additionalProperties": False},
    record(productId=TEXT, quantity=NUMBER, note=TEXT),
    {"type": "object", "properties": {"productId": TEXT, "quantity": {"type": "number", "default": 3}}},
]


@pytest.mark.parametrize("other", OTHERS)
def test_limits_and_members_make_another_class(other: JsonValue) -> None:
    found = homes(A=record(line=LINE), B=record(line=other))

    assert found["BLine"] == "b.BLine"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record(kind={"const": "S0Class0"}), record(kind={"const": "S1Class0"})),
        (
            record(kind={"enum": ["S0Class1", "S0Class1Part0"]}),
            record(kind={"enum": ["S1Class1", "S1Class1Part0"]}),
        ),
        (record(S0Class0=TEXT), record(S1Class0=TEXT)),
        (
            record(x={"type": "string", "pattern": "S0Class1"}),
            record(x={"type": "string", "pattern": "S1Class1"}),
        ),
    ],
)
def test_text_that_reads_like_a_placeholder_makes_another_class(one: JsonValue, other: JsonValue) -> None:
    """The first schema's classes have the placeholders S0Class0 and S0Class1, the second one's S1Class0 and S1Class1."""
    found = homes(A=record(inner=one), B=record(inner=other))

    assert (found["AInner"], found["BInner"]) == ("a.AInner", "b.BInner")


def test_two_named_schemas_stay_two_classes() -> None:
    found = homes(A=LINE, B=LINE, C=record(line=LINE))

    assert (found["A"], found["B"], found["CLine"]) == ("a.A", "b.B", "a.A")


def test_what_contains_itself_is_one_class_however_far_it_is_written_out() -> None:
    node: JsonValue = {**record(label=TEXT, children=listed({"$ref": "#"}))}
    unrolled = record(label=TEXT, children=listed({"$ref": "#/$defs/node"}))
    holder: JsonValue = {
        **record(root=unrolled, other=record(label=TEXT, children=listed(unrolled))),
        "$defs": {"node": unrolled},
    }

    found = homes(Holder=holder, Node=node)

    assert {found["HolderRoot"], found["HolderOther"], found["HolderNode"]} == {"node.Node"}


def test_two_different_objects_of_one_path_name_are_refused() -> None:
    with pytest.raises(ProblemsFound, match="two different nested objects would both become the class ItABC"):
        models(It=record(aB=record(c=record(x=TEXT)), a=record(bC=record(y=TEXT))))


def test_the_error_of_two_objects_of_one_name_has_both_places_and_a_way_out() -> None:
    with pytest.raises(ProblemsFound) as caught:
        models(It=record(order=record(line=record(x=TEXT)), orderLine=record(y=TEXT)))

    (problem,) = caught.value.problems
    assert place(problem.pointer) == "schemas/It/properties/orderLine"
    assert problem.what == (
        "two different nested objects would both become the class ItOrderLine: "
        "properties/order/properties/line and properties/orderLine"
    )
    assert problem.hint == 'give one of them a "title", which becomes its name'


def test_a_title_is_a_way_out() -> None:
    found = homes(
        It=record(order=record(line={**record(x=TEXT), "title": "Inner line"}), orderLine=record(y=TEXT))
    )

    assert found.keys() == {"It", "ItOrder", "ItInnerLine", "ItOrderLine"}


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ([listed(record(a=TEXT)), listed(record(b=TEXT))], {"ItMOptionAItem", "ItMOptionBItem"}),
        (
            [{"type": "object", "additionalProperties": record(a=TEXT)}, {"type": "object", "additionalProperties": record(b=TEXT)}],
            {"ItMOptionAValue", "ItMOptionBValue"},
        ),
        (
            [listed({**record(a=TEXT), "title": "by name"}), listed({**record(b=TEXT), "title": "by id"})],
            {"ItByName", "ItById"},
        ),
        ([listed(LINE), listed({**LINE, "description": "The same."})], {"ItMItem"}),
        ([listed(LINE), {"type": "null"}], {"ItMItem"}),
        ([record(item=record(a=TEXT)), listed(record(b=TEXT))], {"ItM", "ItMOptionAItem", "ItMOptionBItem"}),
        ([listed(listed(record(a=TEXT))), listed(listed(record(b=TEXT)))], {"ItMOptionAItemItem", "ItMOptionBItemItem"}),
    ],
)  # fmt: skip
def test_objects_of_one_path_in_a_union_are_named_by_title_or_position(
    members: list[JsonValue], names: set[str]
) -> None:
    assert homes(It=record(m={"anyOf": members})).keys() == {"It", *names}


def test_a_name_that_two_classes_want_is_exported_by_neither() -> None:
    plan, found = plan_models(
        manifest(contract(schemas={"A": record(bC=LINE), "AB": record(c=record(other=TEXT))}))
    )

    assert plan.names == ("A", "AB")
    assert [(each.severity, place(each.pointer)) for each in found] == [
        (Severity.WARNING, "schemas/A"),
        (Severity.WARNING, "schemas/AB"),
    ]


def test_a_nested_object_that_is_the_named_schema_of_its_name_needs_no_warning() -> None:
    plan, found = plan_models(manifest(contract(schemas={"Order": record(line=LINE), "OrderLine": LINE})))

    assert (plan.names, found) == (("Order", "OrderLine"), [])


CIRCLE: JsonObject = {
    "Branch": {**record(name=TEXT, trees=listed({"$ref": "#/$defs/tree"})), "$defs": {"tree": record(branch={"$ref": "#"}, crown=LINE)}},
    "Tree": {**record(branch={"$ref": "#/$defs/branch"}, crown=LINE), "$defs": {"branch": record(name=TEXT, trees=listed({"$ref": "#"}))}},
    "Wood": {**listed({"anyOf": [{"$ref": "#/$defs/tree"}, LINE]}), "$defs": {"tree": record(branch={"$ref": "#/$defs/branch"}, crown=LINE), "branch": record(name=TEXT, trees=listed({"$ref": "#/$defs/tree"}))}},
}  # fmt: skip
"""Two schemas that contain each other, and one that contains both."""


@pytest.mark.parametrize("first", ["branch", "tree", "wood"])
def test_modules_on_a_circle_are_imported_in_any_order(tmp_path: Path, first: str) -> None:
    package, _ = generated(contract(schemas=CIRCLE), tmp_path)
    code = f"""
import {package.__name__}.models.{first}
from {package.__name__} import Branch, Tree, Wood, WoodTree
from pydantic import TypeAdapter
value = {{"branch": {{"name": "b", "trees": []}}, "crown": {{"productId": "p", "quantity": 1}}}}
tree = Tree.model_validate(value)
assert type(tree.branch) is Branch and WoodTree is Tree
assert TypeAdapter(Wood).validate_python([tree])[0] is tree
assert Branch(name="b", trees=[tree]).trees == [tree]
"""

    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"}
    )


def test_an_equal_object_of_another_schema_is_accepted(tmp_path: Path) -> None:
    shipped = record(orderId=TEXT, lines=listed(LINE))
    package, _ = generated(
        contract(
            schemas={"Live": record(name={"const": "Orders.Shipped"}, event=shipped), "OrderShipped": shipped}
        ),
        tmp_path,
    )
    event = package.OrderShipped(order_id="o", lines=[package.LiveEventLine(product_id="p", quantity=1)])

    live = package.Live(name="Orders.Shipped", event=event)

    assert live.event is event
    assert package.LiveEvent is package.OrderShipped


SCALARS: st.SearchStrategy[JsonValue] = st.sampled_from(
    [TEXT, NUMBER, {"type": "integer", "minimum": 1}, {"enum": ["a", "b"]}, {}]
)
NAMES = st.sampled_from(["id", "orderId", "items", "address", "class", "kind"])


def as_record(properties: dict[str, JsonValue]) -> JsonObject:
    return record(**properties)


def as_union(members: list[JsonValue]) -> JsonObject:
    return {"anyOf": members}


SCHEMAS: st.SearchStrategy[JsonValue] = st.recursive(
    SCALARS,
    lambda inner: (
        inner.map(listed)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=2).map(as_record)
        | st.lists(inner, min_size=1, max_size=2).map(as_union)
    ),
    max_leaves=5,
)
RANDOM_SCHEMAS = st.dictionaries(st.sampled_from(["A", "B", "C", "D"]), SCHEMAS, min_size=2, max_size=4)


def embedded(schemas: dict[str, JsonValue], chooser: random.Random) -> dict[str, JsonValue]:
    """Return the schemas, with some of them written out inside others, as contracts do."""
    result = dict(schemas)
    names = [*schemas]
    for name in names[1:]:
        other = chooser.choice(names[: names.index(name)])
        if chooser.random() < 0.7:
            result[name] = record(own=result[name], other=result[other], more=listed(schemas[other]))
    return result


def importable(module: ModelModule) -> set[str]:
    return set(module.exported)


@settings(max_examples=FEW, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(RANDOM_SCHEMAS, st.randoms(use_true_random=False))
def test_no_edit_elsewhere_changes_what_users_import(
    schemas: dict[str, JsonValue], chooser: random.Random
) -> None:
    schemas = embedded(schemas, chooser)
    together = {module.module: module for module in models(**schemas).modules}
    names = [*schemas]
    chooser.shuffle(names)
    shuffled = {module.module: module for module in models(**{name: schemas[name] for name in names}).modules}

    for name in schemas:
        (alone,) = models(**{name: schemas[name]}).modules
        assert importable(together[alone.module]) == importable(alone)
        assert importable(shuffled[alone.module]) == importable(alone)


@settings(
    max_examples=FEW,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(RANDOM_SCHEMAS, st.randoms(use_true_random=False))
def test_every_module_is_imported_first_and_has_its_names(
    tmp_path: Path, schemas: dict[str, JsonValue], chooser: random.Random
) -> None:
    schemas = embedded(schemas, chooser)
    package, _ = generated(contract(schemas=schemas), tmp_path)
    modules = models(**schemas).modules

    for first in modules:
        forget(package)
        module = reimported(package, tmp_path, f"models.{first.module}")
        assert importable(first) <= {*vars(module)}


def forget(package: ModuleType) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package.__name__]:
        del sys.modules[name]


def reimported(package: ModuleType, folder: Path, module: str) -> ModuleType:
    """Import a module without the `__init__.py` files above it, which import the others first."""
    for name in (package.__name__, f"{package.__name__}.models"):
        empty = ModuleType(name)
        empty.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = empty
    return importlib.import_module(f"{package.__name__}.{module}")
