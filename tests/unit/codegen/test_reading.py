"""A contract is read, or all of its problems are reported at once."""

import pytest
from pydantic import JsonValue

from tests.unit.codegen.contracts import contract, job, problems, rpc
from trellis_codegen.problems import Severity, place


def test_a_valid_contract_has_no_problems() -> None:
    assert problems(contract(jobs={"keep": job()})) == []


@pytest.mark.parametrize(
    ("document", "where", "what", "hint"),
    [
        ([], "", "expected an object, got a list", None),
        (contract(kind="servise"), "kind", '"servise"', 'did you mean "service"?'),
        (contract(id=3), "id", "expected a string, got 3", None),
        (contract(displayName=""), "displayName", "must not be empty", None),
        (contract(docs=None), "docs", "null is not allowed here", None),
        (contract(jobs=[]), "jobs", "expected an object, got a list", None),
        (contract(jobs={"a": {}}), "jobs/a", 'missing field "payload"', None),
        (contract(jobs={"a": job("Thign")}), "jobs/a/payload", "no schema named", 'did you mean "Thing"?'),
        (
            contract(jobs={"a": {"payload": "Thing"}}),
            "jobs/a/payload",
            'expected an object, got "Thing"',
            'write {"schema": "Thing"}',
        ),
        (
            contract(rpc={"A": rpc("A", errors=["Broken"])}),
            "rpc/A/errors/0",
            'expected an object, got "Broken"',
            'write {"type": "Broken"}',
        ),
        (
            contract(
                feeds={"A.B": {"version": "v1", "input": {"schema": "Thing"}, "event": {"schema": "Thing"}}}
            ),
            "feeds/A.B",
            'missing field "subject"',
            'by convention it is "feeds.v1.A.B"',
        ),
        (
            contract(events={"A": {"subject": "events.v1.A", "event": {"schema": "Thing"}}}),
            "events/A",
            'missing field "version"',
            'the first one is "v1"',
        ),
        (
            contract(rpc={"A": rpc("A", errors=[{"type": "Lost"}])}),
            "rpc/A/errors/0/type",
            'no error of type "Lost"',
            'declare it: "errors": {"Lost": {"type": "Lost"}}',
        ),
        (contract(jobs={"a": job(maxDeliver=0)}), "jobs/a/maxDeliver", "must be at least 1, got 0", None),
        (
            contract(jobs={"a": job(maxDeliver=1.0)}),
            "jobs/a/maxDeliver",
            "expected an integer, got 1.0",
            None,
        ),
        (contract(jobs={"a": job(progress=1)}), "jobs/a/progress", "expected true or false, got 1", None),
        (
            contract(jobs={"a": job(queue={})}),
            "jobs/a/queue",
            'needs "keyConcurrency"',
            'declare "keyConcurrency", or remove "queue"',
        ),
        (contract(jobs={"": job()}), "jobs/", "must not be empty", None),
        (
            contract(rpc={"A": rpc("A", version="1")}),
            "rpc/A/version",
            "does not match ^v[0-9]+$",
            'write "v1"',
        ),
        (contract(kv={}), "kv", "unknown field", 'write it inside "resources"'),
        (
            contract(jobs={"a": job(maxActive=2)}),
            "jobs/a/maxActive",
            "unknown field",
            'write it inside "keyConcurrency"',
        ),
        (
            contract(jobs={"a": job(keyConcurrency={"key": "/id"})}),
            "jobs/a/keyConcurrency/key",
            "expected a list",
            'write ["/id"]',
        ),
        (
            contract(rpc={"A": rpc("A", capabilities=["admin"])}),
            "rpc/A/capabilities",
            "expected an object, got a list",
            'write {"call": […]}',
        ),
        (
            contract(rpc={"A": rpc("A", errors=[{"type": "ValidatonError"}])}),
            "rpc/A/errors/0/type",
            'no error of type "ValidatonError"',
            'did you mean "ValidationError"?',
        ),
        (
            contract(exports={"schemas": ["Thinks"]}),
            "exports/schemas/0",
            "no schema named",
            'did you mean "Thing"?',
        ),
    ],
)
def test_a_problem_has_its_place_and_a_hint(
    document: JsonValue, where: str, what: str, hint: str | None
) -> None:
    found = problems(document)

    assert [(place(each.pointer), each.hint) for each in found] == [(where, hint)]
    assert what in found[0].what


def test_a_schema_where_its_name_belongs_gets_a_hint() -> None:
    missing, _ = problems(contract(jobs={"a": {"payload": {"type": "object"}}}))

    assert missing.hint == 'declare it under "schemas", and name it here: {"schema": "…"}'


def test_all_problems_are_found_at_once_in_the_order_of_the_text() -> None:
    found = problems(contract(kind="x", jobs={"b": {"payload": {}}, "a": job(maxDeliver="5")}))

    assert [place(each.pointer) for each in found] == ["kind", "jobs/b/payload", "jobs/a/maxDeliver"]
    assert [each.line for each in found] == sorted(each.line or 0 for each in found)


def test_a_misspelt_field_explains_the_missing_one() -> None:
    found = problems(contract(jobs={"a": {"paylaod": {"schema": "Thing"}}}))

    assert [(each.what, each.hint) for each in found] == [
        ('missing field "payload", but there is "paylaod"', 'did you mean "payload"?')
    ]


def test_an_unknown_field_is_a_warning_because_the_format_is_open() -> None:
    (found,) = problems(contract(jobs={"a": job(maxDelivers=3)}))

    assert (found.severity, found.what, found.hint) == (
        Severity.WARNING,
        "unknown field",
        'did you mean "maxDeliver"?',
    )


def test_an_unknown_field_is_an_error_when_strict() -> None:
    (found,) = problems(contract(future=True), strict=True)

    assert found.severity is Severity.ERROR


def test_embedded_schemas_may_have_any_members() -> None:
    assert problems(contract(schemas={"Thing": {"const": None, "unheardOf": 1}})) == []
