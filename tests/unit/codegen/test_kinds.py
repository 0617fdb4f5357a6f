"""What the kind of a contract decides about its package."""

import json
from pathlib import Path

import pytest
from pydantic import JsonValue
from trellis_nats import OldStateEntry, permissions

from tests.support.generated import generated
from tests.unit.codegen.contracts import JsonObject, contract, job, manifest, rpc
from trellis_codegen.plan.package import plan_package
from trellis_codegen.problems import ProblemsFound, Severity, place
from trellis_codegen.render.package import render_package

THING: JsonObject = {"schema": "Thing"}
STATE: JsonObject = {"last": {"kind": "value", "schema": THING}, "all": {"kind": "map", "schema": THING}}
HEALTH: JsonObject = {"contract": "trellis.health@v1", "events": {"publish": ["Health.Heartbeat"]}}


def files(document: JsonObject) -> dict[str, str]:
    plan, _ = plan_package(manifest(document), source="x", package=None, generator="0")
    return render_package(plan)


@pytest.mark.parametrize("kind", ["app", "device", "agent"])
def test_a_contract_without_a_service_is_a_client_with_state(kind: str, tmp_path: Path) -> None:
    document = contract(kind=kind, id="board@v1", state=STATE)

    package, remarks = generated(document, tmp_path)

    assert remarks == []
    assert sorted(files(document)) == [
        *("__init__.py", "_contract.py", "client.py", "contract.json"),
        *("models/__init__.py", "models/thing.py", "py.typed", "state.py"),
    ]
    assert package.__all__ == ["CONTRACT", "BoardClient", "Thing"]
    assert "rpc.v1.State.List" in permissions(package.BoardClient, "client").publish


@pytest.mark.parametrize("kind", ["app", "device", "agent"])
@pytest.mark.parametrize(
    ("section", "entry", "words"),
    [
        ("rpc", rpc("a"), "RPCs"),
        ("jobs", job(), "job queues"),
        ("events", {"version": "v1", "subject": "events.v1.a", "event": THING}, "events of its own"),
        ("feeds", {"version": "v1", "subject": "feeds.v1.a", "input": THING, "event": THING}, "feeds"),
    ],
)
def test_a_surface_that_only_a_service_can_have_is_an_error_at_its_place(
    kind: str, section: str, entry: JsonValue, words: str
) -> None:
    document = contract(kind=kind, **{section: {"a": entry}})

    with pytest.raises(ProblemsFound) as refused:
        files(document)

    (problem,) = refused.value.problems
    assert (place(problem.pointer), problem.severity) == (f"{section}/a", Severity.ERROR)
    assert f"{kind} cannot have {words}: only a service can" in problem.what
    assert problem.hint == 'move it to the contract of a service, or write "kind": "service"'


def test_state_of_a_service_is_a_warning_and_nothing_is_generated_for_it() -> None:
    document = contract(state={"last": {"kind": "value", "schema": THING}}, rpc={"Get": rpc("Get")})
    plan, remarks = plan_package(manifest(document), source="x", package=None, generator="0")

    assert [(place(each.pointer), each.severity) for each in remarks] == [("state/last", Severity.WARNING)]
    assert "state.py" not in render_package(plan)


def test_older_versions_become_types_of_the_store(tmp_path: Path) -> None:
    schemas: JsonObject = {
        "Thing": {"type": "object", "properties": {}},
        "First": {"type": "string"},
        "Second": {"type": "integer"},
    }
    accepted: JsonObject = {"a": {"schema": "First"}, "b": {"schema": "First"}, "c": {"schema": "Second"}}
    state: JsonObject = {
        "last": {"kind": "map", "schema": THING, "stateVersion": "d", "acceptedVersions": accepted}
    }
    document = contract(kind="app", schemas=schemas, state=state)

    package, _ = generated(document, tmp_path)

    spec = package.state.LAST
    assert spec.accepted == {"a": package.First, "b": package.First, "c": package.Second}
    assert (spec.version, spec.value) == ("d", package.Thing)
    assert "StateMap[Thing, OldStateEntry[First] | OldStateEntry[Second]]" in files(document)["state.py"]
    assert package.state.OldStateEntry is OldStateEntry


@pytest.mark.parametrize(
    ("kind", "group", "use", "expected"),
    [
        ("service", "required", HEALTH, True),
        ("device", "required", HEALTH, True),
        ("service", "optional", HEALTH, True),
        ("app", "required", HEALTH, False),
        ("agent", "required", HEALTH, False),
        ("service", "required", {**HEALTH, "contract": "other.health@v1"}, False),
        ("service", "required", {"contract": "trellis.health@v1"}, False),
        (
            "service",
            "required",
            {"contract": "trellis.health@v1", "events": {"subscribe": ["Health.Heartbeat"]}},
            False,
        ),
    ],
)
def test_a_service_or_device_that_uses_heartbeats_says_so(
    kind: str, group: str, use: JsonValue, *, expected: bool
) -> None:
    text = files(contract(kind=kind, uses={group: {"pulse": use}}))["_contract.py"]

    assert ("has_heartbeats=True" in text) is expected
    assert (f'kind="{kind}"' in text) is (kind != "service")


def test_two_stores_with_one_python_name_are_an_error() -> None:
    store: JsonObject = {"kind": "value", "schema": THING}
    document = contract(kind="app", state={"a-b": store, "aB": store})

    with pytest.raises(ProblemsFound, match=r"would both become state\.a_b"):
        files(document)
    plan, _ = plan_package(
        manifest(document), source="x", package=None, generator="0", names={"/state/aB": "other"}
    )

    assert [store.attribute for store in plan.state] == ["a_b", "other"]
    assert json.loads(plan.contract_json)["state"].keys() == {"a-b", "aB"}
