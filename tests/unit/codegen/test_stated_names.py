"""A project states Python names where a contract's names give none, or two the same; the wire does not notice."""

import json
import re
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.unit.codegen.contracts import TEXT, JsonObject, contract, job, manifest, rpc
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.facade import run
from trellis_codegen.cli.requests import Format, Mode, Request
from trellis_codegen.cli.targets import Choices
from trellis_codegen.cli.validate import run as validate
from trellis_codegen.contract.digest import compute_digest
from trellis_codegen.plan.package import PackagePlan, plan_package
from trellis_codegen.problems import Problem, ProblemsFound, Severity
from trellis_codegen.render.package import render_package

THING: JsonObject = {"schema": "Thing"}

INNER: JsonObject = {"type": "object", "properties": {"a": TEXT}}


def things(**properties: JsonValue) -> JsonObject:
    return {"Thing": {"type": "object", "properties": properties}}


def event(name: str) -> JsonObject:
    return {"version": "v1", "subject": f"events.v1.{name}", "event": THING}


def feed(name: str) -> JsonObject:
    return {"version": "v1", "subject": f"feeds.v1.{name}", "input": THING, "event": THING}


def group(*events: JsonValue) -> JsonObject:
    return {"self": list(events)}


def named(*names: str) -> JsonObject:
    """Return schemas with these names, all of them exported."""
    schemas: JsonObject = {name: {"type": "object"} for name in ("Thing", *names)}
    return {"schemas": schemas, "exports": {"schemas": list(schemas)}}


COLLISIONS: list[JsonObject] = [
    contract(schemas=things(**{"@id": TEXT, "id": TEXT})),
    contract(schemas=things(**{"$schema": TEXT, "schema": TEXT})),
    contract(schemas=things(**{"+1": INNER, "-1": TEXT})),
    contract(schemas=things(**{"a b": TEXT, 'a"b': TEXT, "a\\b": TEXT})),
    contract(schemas=things(名前=TEXT)),
    contract(schemas={"Thing": {"type": "object", "properties": {"x": TEXT}, "required": ["x", "$x"]}}),
    contract(schemas={"Thing": {"type": "array", "items": {"$ref": "#/$defs/p"}, "$defs": {"p": {"type": "object", "properties": {"a/b": TEXT, "a~b": TEXT}}}}}),
    contract(schemas={"Thing": {"type": "object", "properties": {}}, "other-one": TEXT, "OtherOne": {"type": "null"}}),
    contract(schemas={"Thing": {"type": "object", "properties": {}}, "名前": TEXT}, jobs={"keep": job("名前", result={"schema": "名前"})}),
    contract(jobs={"re-index": job(), "re_index": job()}),
    contract(rpc={"Things.Get": rpc("Things.Get"), "Things.get": rpc("Things.get")}),
    contract(rpc={"Get": rpc("Get"), "get": rpc("get")}),
    contract(events={"Things.Made": event("a"), "Things.made": event("b")}),
    contract(resources={"kv": {"a-b": {"purpose": "x"}, "a_b": {"purpose": "y"}}}),
    contract(errors={"a": {"type": "Gone"}, "b": {"type": "Gone!"}}, rpc={"Get": rpc("Get", errors=[{"type": "Gone!"}])}),
    contract(events={"Things": event("a"), "Things.made": event("b")}),
    contract(events={"Things.made": event("a"), "ThingsMade": event("b")}),
    contract(events={"Things.made": event("a"), "things.gone": event("b"), "Things.kept": event("c")}),
    contract(rpc={"a.b_c": rpc("a"), "a_b.c": rpc("b")}),
    contract(rpc={"a.b": rpc("a"), "A.b": rpc("b"), "a.B": rpc("c"), "A.B": rpc("d")}),
    contract(feeds={"名.x": feed("a"), "x.名": feed("b"), "-.+": feed("c")}),
    contract(rpc={"Orders.x": rpc("a"), "Orders.y": rpc("b")}, **named("OrdersRpcCalls", "OrdersRpcEndpoints")),
    contract(feeds={"Orders.x": feed("a"), "Orders.y": feed("b")}, **named("OrdersFeedCalls")),
    contract(rpc={"Orders.x": rpc("a")}, errors={"OrdersRpcCalls": {"type": "OrdersRpcCalls"}}),
    contract(jobs={"a": job("AJob"), "b": job("AQueue")}, **named("AJob", "AQueue")),
    contract(errors={"a": {"type": "Gone"}}, rpc={"Gone": rpc("a"), "Gone.x": rpc("b")}, **named("Gone")),
    contract(**named("CONTRACT", "Contract", "contract")),
    contract(**named("名", "前", "字")),
    contract(events={"名前": event("a")}, eventConsumers={"audit": group("名前")}),
    contract(events={"made": event("a")}, eventConsumers={"a": group("made"), "A_": group("made")}, **named("AGroup")),
]  # fmt: skip


def plan(document: JsonValue, names: dict[str, str]) -> tuple[PackagePlan, list[Problem]]:
    return plan_package(manifest(document), source="x.json", package=None, generator="0", names=names)


def follow_hints(document: JsonValue) -> dict[str, str]:
    """Return the names that the hints propose, until no collision is left."""
    names: dict[str, str] = {}
    for _ in range(5):
        try:
            plan(document, names)
        except ProblemsFound as error:
            for problem in error.problems:
                if problem.severity is Severity.ERROR:
                    found = re.search(r'\[tool\.trellis-gen\.names\]: (".*") = "(.*)"$', problem.hint or "")
                    assert found, problem
                    names[json.loads(found[1])] = found[2]
        else:
            break
    return names


@pytest.mark.parametrize("document", COLLISIONS, ids=lambda document: json.dumps(document)[-60:])
def test_the_hint_of_a_collision_is_a_way_out(document: JsonObject) -> None:
    names = follow_hints(document)

    package, remarks = plan(document, names)

    assert names
    assert [problem for problem in remarks if "pyproject" in problem.what] == []
    assert package.digest == compute_digest(manifest(document))
    assert json.loads(package.contract_json) == document
    for name, text in render_package(package).items():
        if name.endswith(".py"):
            compile(text, name, "exec")


def test_a_stated_name_takes_the_place_of_the_contracts_name() -> None:
    schemas: JsonObject = {
        "thing-1": {"type": "object", "properties": {"@id": {"type": "object", "properties": {"a": TEXT}}}}
    }
    document = contract(
        schemas=schemas, jobs={"keep": job("thing-1")}, rpc={"A.Get": {**rpc("A.Get"), "input": {"schema": "thing-1"}, "output": {"schema": "thing-1"}}}
    )  # fmt: skip

    package, remarks = plan(
        document,
        {"/schemas/thing-1": "Item", "/schemas/thing-1/properties/@id": "ref", "/jobs/keep": "store", "things-service@v1/rpc/A.Get": "find", "other@v1/jobs/keep": "x"},
    )  # fmt: skip
    files = render_package(package)

    assert [problem for problem in remarks if "pyproject" in problem.what] == []
    assert 'ref: Annotated[ItemRef | None, Field(alias="@id"), NotNull] = None' in files["models/item.py"]
    assert "self.store: Final = StoreQueue(runtime)" in files["jobs.py"]
    assert 'name="keep"' in files["jobs.py"]
    assert "self.find: Final = RpcCall[Item, Item](runtime, A_FIND)" in files["rpc.py"]


def test_a_stated_name_of_an_event_counts_in_the_groups_too() -> None:
    document = contract(
        events={"Things.made": event("a"), "Things.gone": event("b")},
        eventConsumers={"audit": group("Things.gone", "Things.made")},
    )

    package, remarks = plan(document, {"/events/Things.made": "built"})
    files = render_package(package)

    assert [problem for problem in remarks if "pyproject" in problem.what] == []
    assert "THINGS_BUILT: Final = EventSpec(" in files["events.py"]
    assert "from .events import THINGS_BUILT, THINGS_GONE" in files["consumers.py"]
    assert "self.things_built: Final = GroupEvent[Thing](self, THINGS_BUILT)" in files["consumers.py"]
    assert json.loads(package.contract_json) == document


def test_a_group_may_have_the_name_of_its_event() -> None:
    document = contract(
        events={"Things.made": event("a")}, eventConsumers={"things-made": group("Things.made")}
    )

    package, _ = plan(document, {})
    files = render_package(package)

    assert "THINGS_MADE_GROUP: Final = GroupSpec(" in files["consumers.py"]
    assert "self.things_made: Final = GroupEvent[Thing](self, THINGS_MADE)" in files["consumers.py"]


def test_equal_objects_with_different_names_are_two_classes() -> None:
    inner: JsonObject = {"type": "object", "properties": {"@id": TEXT}}
    document = contract(schemas=things(a=inner, b=inner))

    package, _ = plan(document, {"/schemas/Thing/properties/a/properties/@id": "at_id"})
    text = render_package(package)["models/thing.py"]

    assert 'at_id: Annotated[str | None, Field(alias="@id"), NotNull] = None' in text
    assert '    id: Annotated[str | None, Field(alias="@id"), NotNull] = None' in text


@pytest.mark.parametrize(
    "place", ["/jobs/none", "/schemas/Thing/type", "/schemas/Thing/properties", "/id", "things-service@v1/x"]
)
def test_a_name_of_nothing_is_a_warning(place: str) -> None:
    _, remarks = plan(contract(), {place: "name"})

    (problem,) = [problem for problem in remarks if "pyproject.toml" in problem.what]
    assert (problem.severity, f'"{place}"' in problem.what) == (Severity.WARNING, True)


PROJECT = '[tool.trellis-gen.names]\n"/schemas/Thing/properties/@id" = "at_id"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    document = contract(schemas=things(**{"@id": TEXT, "id": TEXT}), jobs={"keep": job()})
    (tmp_path / "things.json").write_text(json.dumps(document))
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def generate(mode: Mode = Mode.WRITE) -> ExitCode:
    return run(Request(choices=Choices(manifest=Path("things.json")), mode=mode))


def check() -> ExitCode:
    return validate([Path("things.json")], strict=False, output_format=Format.TEXT, quiet=False)


def test_the_names_of_a_project_count_for_every_command(project: Path) -> None:
    assert check() is ExitCode.OK
    assert generate() is ExitCode.OK
    assert generate(Mode.CHECK) is ExitCode.OK
    assert "at_id:" in (project / "things_participant/models/thing.py").read_text()


def test_another_name_is_another_package(project: Path) -> None:
    generate()
    (project / "pyproject.toml").write_text(PROJECT.replace("at_id", "ref"))

    assert generate(Mode.CHECK) is ExitCode.DRIFT


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('"schemas/Thing" = "Item"', "expected a JSON pointer"),
        ('"/schemas/Thing" = "1x"', "expected a Python name"),
        ('"/schemas/Thing" = ["Item"]', "expected a Python name"),
    ],
)
def test_a_bad_name_is_a_mistake_of_the_configuration(
    line: str, what: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pyproject.toml").write_text(f"[tool.trellis-gen.names]\n{line}\n")

    assert check() is ExitCode.USAGE
    assert generate() is ExitCode.USAGE
    said = capsys.readouterr().err
    assert (
        f"pyproject.toml:2:1: error[configuration]: tool/trellis-gen/names/{line.split(chr(34))[1]}: {what}"
        in said
    )
