"""Schemas become classes whose names and shapes depend on nothing but themselves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from tests.unit.codegen.contracts import TEXT, JsonObject, contract, manifest
from trellis_codegen.plan.models import ModelModule, ModelsPlan, plan_models
from trellis_codegen.problems import Problem, ProblemsFound, Severity, place
from trellis_codegen.schemas.models import ModelField

NUMBER: JsonValue = {"type": "number"}
LINE: JsonObject = {
    "type": "object",
    "properties": {"productId": TEXT, "quantity": NUMBER},
    "required": ["quantity"],
}


def record(*required: str, **properties: JsonValue) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list[JsonValue](required)}


def listed(schema: JsonValue) -> JsonObject:
    return {"type": "array", "items": schema}


def models(**schemas: JsonValue) -> ModelsPlan:
    return plan_models(manifest(contract(schemas=schemas)))[0]


def remarks(**schemas: JsonValue) -> list[Problem]:
    try:
        return plan_models(manifest(contract(schemas=schemas)))[1]
    except ProblemsFound as error:
        return list(error.problems)


def annotation(schema: JsonValue) -> str:
    """Return the Python type that a required field with this schema gets."""
    (field,) = fields(record("it", it=schema))
    return field.annotation


def fields(schema: JsonValue) -> tuple[ModelField, ...]:
    return models(It=schema).classes["It"].fields


def shapes(module: ModelModule) -> dict[str, str]:
    """Return where each nested object of a module comes from."""
    return {each.local_name: each.module.rpartition(".")[2] for each in module.shapes}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (TEXT, "str"),
        (NUMBER, "float"),
        ({"type": "integer", "minimum": 1}, "Annotated[Integer, Field(ge=1)]"),
        ({"type": "string", "format": "date-time"}, "AwareDatetime"),
        ({"type": "string", "format": "uuid"}, "UUID"),
        ({"type": "string", "format": "email"}, "str"),
        ({"type": ["string", "null"]}, "str | None"),
        ({"const": "a"}, "Literal['a']"),
        ({"enum": ["a", None]}, "Literal['a'] | None"),
        ({"enum": ["a", 1]}, "Annotated[Literal['a', 1], Exact]"),
        ({"enum": ["a", 1, True]}, "Annotated[JsonValue, OneOf(('a', 1, True))]"),
        ({"const": 1.5}, "Annotated[float, OneOf((1.5,))]"),
        ({"const": {"a": [None]}}, "Annotated[JsonValue, OneOf(({'a': [None]},))]"),
        ({"type": "string", "enum": ["a", 1]}, "Literal['a']"),
        ({"type": "string", "format": "time"}, "AwareTime"),
        ({"type": ["integer", "null"], "minimum": 0}, "Annotated[Integer, Field(ge=0)] | None"),
        (
            {"type": "integer", "minimum": 0.5, "multipleOf": 1.5},
            "Annotated[Integer, Field(ge=1, multiple_of=3)]",
        ),
        (
            {"type": "object", "patternProperties": {"^x": TEXT}, "additionalProperties": False},
            "dict[Annotated[str, Field(pattern='^x')], str]",
        ),
        ({"type": "array", "items": [TEXT, NUMBER], "minItems": 2, "maxItems": 2}, "tuple[str, float]"),
        (
            {"type": "array", "prefixItems": [TEXT], "items": False},
            "Annotated[list[str], Field(max_length=1)]",
        ),
        ({"anyOf": [{"const": "a"}, {"type": "string", "const": "b"}]}, "Literal['a', 'b']"),
        ({"anyOf": [TEXT]}, "str"),
        ({"allOf": [TEXT, {"minLength": 2}]}, "Annotated[str, Field(min_length=2)]"),
        ({"anyOf": [TEXT, NUMBER]}, "str | float"),
        (listed({"type": "string", "minLength": 1}), "list[Annotated[str, Field(min_length=1)]]"),
        ({"type": "object"}, "dict[str, JsonValue]"),
        ({"type": "object", "patternProperties": {"^.*$": {}}}, "dict[str, JsonValue]"),
        ({"type": "object", "additionalProperties": NUMBER}, "dict[str, float]"),
        (
            {"type": "array", "prefixItems": [TEXT, NUMBER], "minItems": 2, "items": False},
            "tuple[str, float]",
        ),
        ({}, "JsonValue"),
        (True, "JsonValue"),
        (False, "Annotated[str, Field(max_length=0, min_length=1)]"),
    ],
)
def test_each_kind_of_schema_has_its_type(schema: JsonValue, expected: str) -> None:
    assert annotation(schema) == expected


def test_a_field_keeps_its_wire_name_as_alias() -> None:
    (field,) = fields(record("orderId", orderId={"type": "string", "minLength": 1}))

    assert (field.name, field.annotation) == (
        "order_id",
        "Annotated[str, Field(alias='orderId', min_length=1)]",
    )


def test_an_optional_field_may_be_absent() -> None:
    note, count = fields(record(note=TEXT, aCount={"type": "integer", "default": 3}))[::-1]

    assert (note.annotation, note.default) == ("Annotated[str | None, NotNull]", "None")
    assert (count.annotation, count.default) == ("Annotated[Integer, Field(alias='aCount')]", "3")


def test_a_schema_that_is_no_object_is_an_alias() -> None:
    assert models(Status={"enum": ["on", "off"]}).classes["Status"].alias_of == "Literal['on', 'off']"


def test_nested_objects_are_named_by_their_path() -> None:
    plan = models(
        Order=record(
            lines=listed(LINE),
            address=record(city=TEXT),
            notes={"type": "object", "additionalProperties": LINE},
        )
    )

    assert plan.names == ("Order", "OrderAddress", "OrderLine", "OrderNotesValue")


def test_identical_shapes_are_one_type_whatever_the_order_of_their_members() -> None:
    backwards: JsonValue = {
        "required": ["quantity"],
        "properties": {"quantity": NUMBER, "productId": TEXT},
        "type": "object",
    }
    request, payload = models(A=record(lines=listed(LINE)), B=record(items=listed(backwards))).modules

    assert shapes(request)["ALine"] == shapes(payload)["BItem"]


def test_shapes_that_differ_in_a_limit_are_two_types_of_one_name() -> None:
    limited: JsonValue = {
        **LINE,
        "properties": {"productId": TEXT, "quantity": {"type": "number", "minimum": 1}},
    }
    plan = models(A=record(lines=listed(LINE)), B=record(lines=listed(limited)))

    assert [each.classes[0].name for each in plan.shapes] == ["ProductIdQuantity", "ProductIdQuantity"]
    assert len({each.module for each in plan.shapes}) == 2


def test_a_reference_inside_the_schema_is_followed() -> None:
    plan = models(A={**record(line={"$ref": "#/$defs/line"}), "$defs": {"line": LINE}}, B=record(line=LINE))

    assert [*shapes(plan.modules[0]).values()] == [*shapes(plan.modules[1]).values()]


def test_what_contains_itself_stays_in_its_module() -> None:
    node = record(children=listed({"$ref": "#/$defs/node"}))
    (module,) = models(
        Tree={**record(root={"$ref": "#/$defs/node"}, twin={"$ref": "#"}), "$defs": {"node": node}}
    ).modules

    assert [each.name for each in module.classes] == ["Tree", "TreeNode"]
    assert [each.annotation for each in module.classes[0].fields] == [
        "Annotated[TreeNode | None, NotNull]",
        "Annotated[Tree | None, NotNull]",
    ]


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        (
            [record("kind", kind={"const": "order.paid"}), record("kind", kind={"const": "order.sent"})],
            ("ItValueOrderPaid", "ItValueOrderSent"),
        ),
        (
            [{**record(a=TEXT), "title": "by name"}, {**record(a=NUMBER), "title": "by id"}],
            ("ItValueById", "ItValueByName"),
        ),
        ([record(a=TEXT, email=TEXT), record(a=TEXT, phone=TEXT)], ("ItValueEmail", "ItValuePhone")),
        ([record(a=TEXT), record(a=NUMBER)], ("ItValueOptionA", "ItValueOptionB")),
        ([record(a=TEXT), {"type": "null"}], ("ItValue",)),
    ],
)
def test_the_objects_of_a_union_are_named_by_what_tells_them_apart(
    variants: list[JsonValue], expected: tuple[str, ...]
) -> None:
    assert models(It=record(value={"anyOf": variants})).names == ("It", *expected)


def test_a_list_beside_a_property_of_its_singular_is_told_apart() -> None:
    assert models(It=record(item=record(a=TEXT), items=listed(record(b=TEXT)))).names == (
        "It",
        "ItItem",
        "ItItemsItem",
    )


def test_a_named_schema_goes_before_a_nested_object_of_its_name() -> None:
    plan, found = plan_models(
        manifest(contract(schemas={"Order": record(item=LINE), "OrderItem": record(a=TEXT)}))
    )

    assert plan.names == ("Order", "OrderItem")
    assert [(each.severity, place(each.pointer)) for each in found] == [(Severity.WARNING, "schemas/Order")]


@pytest.mark.parametrize(
    ("schema", "where", "what"),
    [
        ({"$ref": "https://example.com/x.json"}, "/$ref", "is refused"),
        ({"$ref": "../secrets.json"}, "/$ref", "is refused"),
        ({"$ref": "file:///etc/hostname"}, "/$ref", "is refused"),
        ({"$ref": "#/$defs/none"}, "/$ref", "nothing at"),
        (record(orderId=TEXT, order_id=TEXT), "/properties/order_id", "would both become the field order_id"),
        (record(名=TEXT), "/properties/名", "can be part of a Python name"),
        ({"type": "string", "pattern": "(?<=a)b"}, "/pattern", "can't be compiled"),
        ({"properties": []}, "/properties", "must be an object"),
        ({"enum": []}, "/enum", "a list that is not empty"),
        ({"items": 3}, "/items", "must be an object or a boolean"),
        ({"anyOf": [TEXT, {"$ref": "#"}]}, "", "must be an object"),
    ],
)
def test_a_schema_that_has_no_model_is_refused_with_its_place(
    schema: JsonValue, where: str, what: str
) -> None:
    found = [each for each in remarks(It=schema) if each.severity is Severity.ERROR]

    assert [place(each.pointer) for each in found] == [f"schemas/It{where}"]
    assert what in found[0].what


@pytest.mark.parametrize("keyword", ["customTypePath", "customBasePath", "x-python-import"])
def test_keys_that_steer_the_model_generator_are_ignored_with_a_warning(keyword: str) -> None:
    steered: JsonValue = {"type": "object", "properties": {"a": {"type": "string", keyword: "os.system"}}}

    assert [each.annotation for each in fields(steered)] == ["Annotated[str | None, NotNull]"]
    assert [(each.severity, place(each.pointer)) for each in remarks(It=steered)] == [
        (Severity.WARNING, f"schemas/It/properties/a/{keyword}")
    ]


def test_a_keyword_that_models_do_not_enforce_is_reported() -> None:
    (found,) = remarks(It={"type": "array", "items": TEXT, "uniqueItems": True})

    assert (found.severity, found.what) == (Severity.WARNING, '"uniqueItems" is not enforced by the models')


def test_a_schema_is_bounded_in_depth_and_in_size() -> None:
    deep: JsonValue = TEXT
    for _ in range(64):
        deep = listed(deep)

    assert "nested more than 64" in remarks(It=deep)[0].what
    assert "more than 2000" in remarks(It=record(**{f"p{index}": TEXT for index in range(2001)}))[0].what


def test_references_cannot_blow_a_schema_up() -> None:
    bomb: dict[str, JsonValue] = {
        f"a{index}": record(l={"$ref": f"#/$defs/a{index + 1}"}, r={"$ref": f"#/$defs/a{index + 1}"})
        for index in range(30)
    }
    bomb["a30"] = TEXT

    assert "with its references written out" in remarks(It={"$ref": "#/$defs/a0", "$defs": bomb})[0].what


SCALARS = st.sampled_from([TEXT, NUMBER, {"type": "integer", "minimum": 1}, {"enum": ["a", "b"]}, {}, True])
NAMES = st.sampled_from(["id", "orderId", "items", "item", "address", "class", "kind"])
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(listed, inner)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=3).map(lambda properties: record(**properties))
        | st.lists(inner, min_size=1, max_size=2).map(lambda members: {"anyOf": members})
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(["A", "B", "C"]), SCHEMAS, min_size=2, max_size=3))
def test_no_schema_changes_what_is_made_of_another(schemas: dict[str, JsonValue]) -> None:
    together = {module.module: module for module in models(**schemas).modules}

    for name, schema in schemas.items():
        (alone,) = models(**{name: schema}).modules
        assert together[alone.module] == alone
