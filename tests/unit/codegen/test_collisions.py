"""Two contract names that become one Python name are an error that names both."""

import pytest
from pydantic import JsonValue

from tests.unit.codegen.contracts import TEXT, THING, contract, job, manifest, rpc
from trellis_codegen.plan.package import plan_package
from trellis_codegen.problems import ProblemsFound, Severity, place


def clashes(**sections: JsonValue) -> list[tuple[str, str]]:
    """Return where names meet, and what is said about it."""
    try:
        plan_package(manifest(contract(**sections)), source="x.json", package=None, generator="0")
    except ProblemsFound as error:
        return [(place(each.pointer), each.what) for each in error.problems]
    return []


@pytest.mark.parametrize(
    ("sections", "where", "what"),
    [
        (
            {"jobs": {"keep-thing": job(), "keepThing": job()}},
            "jobs/keepThing",
            '"keep-thing" and "keepThing" would both become jobs.keep_thing',
        ),
        (
            {"rpc": {"Things": rpc("Things"), "Things.Get": rpc("Things.Get")}},
            "rpc/Things.Get",
            '"Things" and "Things.Get" would both become rpc.things',
        ),
        (
            {"rpc": {"Things.Get": rpc("a"), "Things.get": rpc("b")}},
            "rpc/Things.get",
            '"Things.Get" and "Things.get" would both become rpc.things.get',
        ),
        (
            {"resources": {"kv": {"a-b": {"purpose": "x"}, "a.b": {"purpose": "x"}}}},
            "resources/kv/a.b",
            '"a-b" and "a.b" would both become kv.a_b',
        ),
        (
            {"resources": {"store": {"a-b": {"purpose": "x"}, "a.b": {"purpose": "x"}}}},
            "resources/store/a.b",
            '"a-b" and "a.b" would both become stores.a_b',
        ),
        (
            {"errors": {"a": {"type": "NotFound"}, "b": {"type": "not-found"}}},
            "errors/b",
            '"a" and "b" would both become NotFound',
        ),
        (
            {"schemas": {"Thing": THING, "thing": TEXT}},
            "schemas/thing",
            '"Thing" and "thing" would both become Thing',
        ),
        (
            {"schemas": {"Thing": THING, "KeepJob": THING}, "jobs": {"keep": job()}},
            "schemas/KeepJob",
            'jobs "keep" and schemas "KeepJob" would both become KeepJob',
        ),
        ({"rpc": {"名": rpc("名")}}, "rpc/名", 'cannot make a Python name from "名"'),
        ({"id": "名@v1"}, "id", 'cannot make a Python name from "名@v1"'),
    ],
)
def test_both_names_are_named(sections: dict[str, JsonValue], where: str, what: str) -> None:
    assert (where, what) in clashes(**sections)


def test_a_nested_object_yields_its_name_to_a_queue() -> None:
    keep: JsonValue = {"type": "object", "properties": {"job": THING}}
    document = contract(schemas={"Thing": THING, "Keep": keep}, jobs={"keep": job()})

    plan, remarks = plan_package(manifest(document), source="x.json", package=None, generator="0")

    exported = dict(plan.exported)
    assert ("KeepJob" in exported["jobs"], "KeepJob" in exported["models"]) == (True, False)
    assert [(place(each.pointer), each.severity) for each in remarks] == [("schemas/Keep", Severity.WARNING)]


def test_names_of_different_surfaces_do_not_collide() -> None:
    assert clashes(jobs={"things": job()}, rpc={"things": rpc("things")}) == []


def test_a_queue_may_be_called_like_a_method_of_the_facade() -> None:
    document = contract(jobs={"start-workers": job(), "class": job()})
    plan, _ = plan_package(manifest(document), source="x.json", package=None, generator="0")

    assert [queue.attribute for queue in plan.jobs] == ["start_workers_", "class_"]
