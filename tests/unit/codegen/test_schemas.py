"""Each keyword of a schema has its Python type, and each object inside a schema has a class."""

import time

import pytest
from pydantic import JsonValue

from tests.unit.codegen.contracts import TEXT, JsonObject, contract, manifest
from trellis_codegen.plan.models import ModelsPlan, plan_models
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


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (TEXT, "str"),
        (NUMBER, "float"),
        ({"type": "integer", "minimum": 1}, "Annotated[Integer, Field(ge=1)]"),
        ({"type": "string", "format": "date-time"}, "AwareDatetime"),
        ({"type": "string", "format": "uuid"}, "ExactUUID"),
        ({"type": "string", "format": "email"}, "str"),
        ({"type": ["string", "null"]}, "str | None"),
        ({"anyOf": [{"type": "null"}, {"type": "null"}]}, "None"),
        ({"anyOf": [{"const": None}, {"type": "null"}]}, "None"),
        ({"anyOf": [{"enum": [None]}, TEXT, {"type": "null"}]}, "str | None"),
        ({"anyOf": [TEXT, {"enum": [None, 1]}]}, "str | Annotated[Literal[1], Exact] | None"),
        ({"anyOf": [{"type": "null"}, {"type": ["string", "null"]}, NUMBER]}, "str | float | None"),
        ({"const": "a"}, "Literal['a']"),
        ({"enum": ["a", None]}, "Literal['a'] | None"),
        ({"enum": ["a", 1]}, "Annotated[Literal['a', 1], Exact]"),
        ({"enum": ["a", 1, True]}, "Annotated[JsonValue, OneOf(('a', 1, True))]"),
        ({"const": 1.5}, "Annotated[float, OneOf((1.5,))]"),
        ({"enum": [2**63, 1.0]}, "Annotated[Integer, OneOf((9223372036854775808, 1))]"),
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


@pytest.mark.parametrize("values", [[f"v{number}" for number in range(4_000)], [*range(3_999), None], [number / 8 for number in range(4_000)], [[number] for number in range(4_000)]], ids=["texts", "numbers", "fractions", "lists"])  # fmt: skip
@pytest.mark.parametrize("form", ["enum", "constants", "both"])
def test_the_cost_of_an_enumeration_grows_with_its_size(values: list[JsonValue], form: str) -> None:
    """4,000 values took 8 s when each was compared with each."""
    enumeration: JsonObject = {"enum": values}
    forms: dict[str, JsonObject] = {
        "enum": enumeration,
        "constants": {"oneOf": [{"enum": values[:2000]}, {"enum": values[2000:]}]},
        "both": {"allOf": [enumeration, {"enum": [*values[1:], "more"]}]},
    }
    started = time.process_time()

    assert models(It=forms[form]).classes["It"].alias_of

    assert time.process_time() - started < 4


def test_a_field_keeps_its_wire_name_as_alias() -> None:
    (field,) = fields(record("orderId", orderId={"type": "string", "minLength": 1}))

    assert (field.name, field.annotation) == (
        "order_id",
        "Annotated[str, Field(alias='orderId', min_length=1)]",
    )


def test_an_optional_field_may_be_absent() -> None:
    note, count = fields(record(note=TEXT, aCount={"type": "integer", "default": 3}))

    assert (note.annotation, note.default) == ("Annotated[str | None, NotNull]", "None")
    assert (count.annotation, count.default) == ("Annotated[Integer, Field(alias='aCount')]", "3")


@pytest.mark.parametrize(
    ("schema", "default"),
    [
        ({"type": "integer", "default": 1.0}, "1"),
        ({"type": "string", "format": "email", "default": "a@b.c"}, "'a@b.c'"),
        ({"enum": [1, 2], "default": 2.0}, "2"),
        ({"type": ["integer", "null"], "default": 1.0}, "1"),
        ({"type": "number", "default": 1.0}, "1.0"),
        ({"type": ["number", "string"], "default": 1.5}, "1.5"),
        ({"anyOf": [TEXT, {"type": "null"}], "default": "a"}, "'a'"),
        ({"anyOf": [TEXT, {"type": "null"}], "default": None}, "None"),
        ({"anyOf": [{"type": "integer"}, {"enum": ["auto"]}], "default": "auto"}, "'auto'"),
        (
            {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": "2026-01-01"},
            "None",
        ),
    ],
)
def test_a_default_has_the_type_of_its_field(schema: JsonValue, default: str) -> None:
    (count,) = fields(record(count=schema))

    assert count.default == default


def test_a_schema_that_is_not_an_object_is_an_alias() -> None:
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


def test_an_object_in_a_schema_that_is_not_an_object_has_its_own_name() -> None:
    (module,) = models(It={"anyOf": [record(a=TEXT), {"type": "null"}]}).modules

    assert [(each.name, each.alias_of) for each in module.classes] == [
        ("ItObject", None),
        ("It", "ItObject | None"),
    ]


def test_members_stand_in_the_order_of_the_schema() -> None:
    schema = record(zebra=TEXT, apple={"anyOf": [record(z=TEXT, y=TEXT), record(x=TEXT)]}, mango=TEXT)
    combined: JsonValue = {"allOf": [record(d=TEXT, c=TEXT), record(b=TEXT, a=TEXT)]}

    assert [each.wire_name for each in fields(schema)] == ["zebra", "apple", "mango"]
    assert [each.wire_name for each in fields(combined)] == ["d", "c", "b", "a"]


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


def test_a_list_and_a_property_of_its_singular_are_distinguished() -> None:
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
        ({"$ref": "https://example.com/x.json"}, "/$ref", "is not allowed"),
        ({"$ref": "../secrets.json"}, "/$ref", "is not allowed"),
        ({"$ref": "file:///etc/hostname"}, "/$ref", "is not allowed"),
        ({"$ref": "#/$defs/none"}, "/$ref", "does not exist"),
        (record(orderId=TEXT, order_id=TEXT), "/properties/order_id", "would both become the field order_id"),
        (record(名=TEXT), "/properties/名", "cannot make a Python name from"),
        ({"type": "object", "required": ["名"]}, "/required/0", 'cannot make a Python name from "名"'),
        ({**record(a_b=TEXT), "required": ["a-b"]}, "/required/0", "would both become the field a_b"),
        ({"type": "string", "pattern": "(?<=a)b"}, "/pattern", "can't be compiled"),
        ({"properties": []}, "/properties", "must be an object"),
        ({"enum": []}, "/enum", "a non-empty list"),
        ({"items": 3}, "/items", "must be an object or a boolean"),
        ({"anyOf": [TEXT, {"$ref": "#"}]}, "", "refers to itself with no object, list or map between"),
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

    assert "when its references are expanded" in remarks(It={"$ref": "#/$defs/a0", "$defs": bomb})[0].what
