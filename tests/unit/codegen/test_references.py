"""References within a schema, in every spelling, and whole numbers in every spelling."""

from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.support.generated import adapter, generated
from tests.unit.codegen.contracts import JsonObject, contract, job, problems
from tests.unit.codegen.test_agreement import accepts
from trellis_codegen.problems import Problem, ProblemsFound, Severity, json_pointer
from trellis_codegen.schemas.wellformed import COUNTS

SPELLINGS = [
    ("Page<Order>", "#/$defs/Page%3COrder%3E"),
    ("Page<Order>", "#/$defs/Page<Order>"),
    ("Half full", "#/$defs/Half%20full"),
    ("Half full", "#/$defs/Half full"),
    ("a/b", "#/$defs/a~1b"),
    ("a~b", "#/$defs/a~0b"),
    ("~1", "#/$defs/~01"),
    ("a/b", "#/$defs/a%7E1b"),
    ("100%", "#/$defs/100%25"),
    ("100%", "#/$defs/100%"),
    ("%25", "#/$defs/%2525"),
    ("%20", "#/$defs/%20"),
    ("größe", "#/$defs/gr%C3%B6%C3%9Fe"),
    ("größe", "#/$defs/größe"),
    ('"', "#/$defs/%22"),
    ("a+b", "#/$defs/a+b"),
    ("", "#/$defs/"),
]
NUMBER: JsonValue = {"type": "integer"}


@pytest.mark.parametrize(("name", "reference"), SPELLINGS)
def test_a_reference_is_followed_in_every_spelling(name: str, reference: str, tmp_path: Path) -> None:
    thing: JsonValue = {
        "type": "object",
        "properties": {"n": {"$ref": reference}},
        "$defs": {name: NUMBER, "decoy": {}},
    }
    package, remarks = generated(contract(schemas={"Thing": thing}), tmp_path)
    model = adapter(package, "Thing")

    assert remarks == []
    assert accepts(model, {"n": 1})
    assert not accepts(model, {"n": "a"})


def test_a_percent_is_decoded_once(tmp_path: Path) -> None:
    thing: JsonValue = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/%2520"}},
        "$defs": {"%20": NUMBER, " ": {"type": "string"}},
    }
    package, _ = generated(contract(schemas={"Thing": thing}), tmp_path)

    assert accepts(adapter(package, "Thing"), {"n": 1})


def test_two_spellings_of_a_recursive_reference_are_one_class(tmp_path: Path) -> None:
    node: JsonValue = {
        "type": "object",
        "properties": {"left": {"$ref": "#/$defs/Tree%20node"}, "right": {"$ref": "#/$defs/Tree node"}},
        "additionalProperties": False,
    }
    package, remarks = generated(
        contract(schemas={"Tree": {"$ref": "#/$defs/Tree%20node", "$defs": {"Tree node": node}}}), tmp_path
    )
    model = adapter(package, "Tree")

    assert remarks == []
    assert accepts(model, {"left": {"right": {"left": {}}}})
    assert not accepts(model, {"left": {"right": {"up": {}}}})


def refusals(schema: JsonValue, folder: Path) -> list[Problem]:
    with pytest.raises(ProblemsFound) as refused:
        generated(contract(schemas={"Thing": schema}), folder)
    return [problem for problem in refused.value.problems if problem.severity is Severity.ERROR]


def test_what_only_a_reference_leads_to_is_checked(tmp_path: Path) -> None:
    schema: JsonValue = {
        "$ref": "#/x-parts/a",
        "x-parts": {"a": {"$ref": "#/x-parts/b"}, "b": {"pattern": "("}},
    }

    (problem,) = refusals(schema, tmp_path)

    assert json_pointer(problem.pointer) == "/schemas/Thing/x-parts/b/pattern"


def test_what_only_a_reference_leads_to_may_not_leave_the_schema(tmp_path: Path) -> None:
    schema: JsonValue = {"$ref": "#/x-parts/a", "x-parts": {"a": {"$ref": "file:///etc/hostname"}}}

    (problem,) = refusals(schema, tmp_path)

    assert json_pointer(problem.pointer) == "/schemas/Thing/x-parts/a/$ref"


@pytest.mark.parametrize("section", ["schemas", "$defs"])
def test_a_reference_to_another_schema_of_the_contract_gets_a_hint(section: str, tmp_path: Path) -> None:
    (problem,) = refusals({"type": "array", "items": {"$ref": f"#/{section}/Ticket"}}, tmp_path)

    assert problem.hint is not None
    assert 'copy "Ticket" into its "$defs" and write "#/$defs/Ticket"' in problem.hint


@pytest.mark.parametrize(
    ("schema", "hint"),
    [
        ({"$ref": "#/$defs/Tiket", "$defs": {"Ticket": NUMBER}}, 'did you mean "#/$defs/Ticket"?'),
        (
            {"properties": {"a": {"required": True}}},
            'write "required": ["a"] next to "properties" of its object',
        ),
    ],
)
def test_a_mistake_in_a_schema_gets_a_hint(schema: JsonValue, hint: str, tmp_path: Path) -> None:
    assert [problem.hint for problem in refusals(schema, tmp_path)] == [hint]


@pytest.mark.parametrize(
    ("schema", "hint"),
    [
        ({"type": "string", "nullable": True}, 'write "type": ["string", "null"]'),
        ({"type": "object", "propertise": {}}, 'did you mean "properties"?'),
        ({"type": "object", "minProperties": 1}, None),
        ({"type": "string", "format": "dateTime"}, 'did you mean "date-time"?'),
    ],
)
def test_a_keyword_that_is_not_enforced_gets_a_hint(
    schema: JsonValue, hint: str | None, tmp_path: Path
) -> None:
    _, found = generated(contract(schemas={"Thing": schema}), tmp_path)

    assert [problem.hint for problem in found] == [hint]


def test_a_key_is_looked_up_through_an_encoded_reference() -> None:
    payload: JsonValue = {
        "type": "object",
        "properties": {"id": {"$ref": "#/$defs/the%20id"}},
        "required": ["id"],
        "$defs": {"the id": {"type": "string"}},
    }
    jobs: JsonValue = {"keep": job(keyConcurrency={"key": ["/id"]})}

    assert problems(contract(schemas={"Thing": payload}, jobs=jobs)) == []


@pytest.mark.parametrize("keyword", sorted(COUNTS))
@pytest.mark.parametrize("value", [-1, -1.0, 2.5, True, "2", None, 2**63, 1e300])
def test_a_count_is_a_whole_number(keyword: str, value: JsonValue, tmp_path: Path) -> None:
    (problem,) = refusals({keyword: value}, tmp_path)

    assert json_pointer(problem.pointer) == f"/schemas/Thing/{keyword}"


def test_a_count_may_be_written_with_a_fraction_of_zero(tmp_path: Path) -> None:
    text: JsonObject = {"type": "string", "minLength": 2.0, "maxLength": 3e0}
    huge: JsonObject = {"type": "array", "maxItems": 9007199254740991}
    things: JsonObject = {"type": "array", "minItems": 1.0, "maxItems": 2.0}
    pair: JsonObject = {"type": "array", "prefixItems": [text, NUMBER], "minItems": 2.0, "maxItems": 2.0}
    some: JsonObject = {"enum": ["a", "ab"], "minLength": 2.0}
    package, remarks = generated(
        contract(schemas={"Text": text, "Things": things, "Pair": pair, "Some": some, "Huge": huge}), tmp_path
    )

    assert [problem.what for problem in remarks] == [
        '"a" never matches: the keywords next to "enum" refuse it'
    ]
    right: list[tuple[str, JsonValue]] = [("Text", "ab"), ("Text", "abc"), ("Things", [1, 2]), ("Pair", ["ab", 1]), ("Some", "ab")]  # fmt: skip
    wrong: list[tuple[str, JsonValue]] = [("Text", "a"), ("Text", "abcd"), ("Things", []), ("Things", [1, 2, 3]), ("Pair", ["ab"]), ("Some", "a")]  # fmt: skip
    assert [value for name, value in right if not accepts(adapter(package, name), value)] == []
    assert [value for name, value in wrong if accepts(adapter(package, name), value)] == []


def test_the_limits_of_draft_4_get_a_hint(tmp_path: Path) -> None:
    (problem,) = refusals({"type": "number", "maximum": 5, "exclusiveMaximum": True}, tmp_path)

    assert "replaces the true or false of draft 4" in problem.what
