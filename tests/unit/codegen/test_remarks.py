"""What the command remarks on, and what it reads and prints in less common ways."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.support.generator import run_generator
from tests.unit.codegen.contracts import TEXT, THING, JsonObject, contract, job, manifest, problems, rpc
from trellis_codegen import naming
from trellis_codegen.plan.remarks import find_remarks
from trellis_codegen.problems import Severity, json_pointer

EMPTY: list[JsonValue] = [
    False,
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {"$ref": "#/$defs/a", "$defs": {"a": False}},
    {"enum": ["a"], "type": "integer"},
]


def remarks(document: JsonObject) -> list[tuple[str, str]]:
    found = [*find_remarks(manifest(document))]
    assert {problem.severity for problem in found} <= {Severity.WARNING}
    return [(json_pointer(problem.pointer), problem.what) for problem in found]


def calling(errors: list[str]) -> JsonObject:
    return {"rpc": {"Get": rpc("Get", errors=[{"type": error} for error in errors])}}


def test_a_schema_that_nothing_uses_is_a_remark() -> None:
    document = contract(
        schemas={"Thing": TEXT, "Spare": TEXT, "Shared": TEXT},
        jobs={"keep": job()},
        exports={"schemas": ["Shared"]},
    )

    assert remarks(document) == [("/schemas/Spare", "no part of the contract uses this schema")]


@pytest.mark.parametrize("schema", [TEXT, {"type": "object"}, {"anyOf": [THING, {"type": "null"}]}])
def test_an_error_that_handlers_raise_without_its_data_is_a_remark(schema: JsonValue) -> None:
    errors: JsonObject = {
        "Gone": {"type": "Gone", "schema": {"schema": "Data"}},
        "Lost": {"type": "Lost", "schema": {"schema": "Thing"}},
        "Bare": {"type": "Bare"},
    }

    called = calling(["Gone", "Lost", "Bare"])
    ((place, what),) = remarks(contract(schemas={"Thing": THING, "Data": schema}, errors=errors, **called))

    assert place == "/errors/Gone/schema"
    assert '"Data" is not an object with "properties"' in what


@pytest.mark.parametrize(
    ("sections", "what"),
    [
        (
            calling(["AuthError"]),
            "no call lists this error, so that callers get an UnexpectedError in its place",
        ),
        ({"kind": "app"}, "the contract has no call that could answer with it"),
        (calling(["Gone"]), None),
        ({**calling([]), "operations": {"Run": {**rpc("Run"), "subject": "operations.v1.Run"}}}, None),
    ],
)
def test_an_error_that_no_call_answers_with_is_a_remark(sections: JsonObject, what: str | None) -> None:
    document = contract(errors={"A": {"type": "Gone"}}, exports={"schemas": ["Thing"]}, **sections)

    assert remarks(document) == ([("/errors/A", what)] if what else [])


@pytest.mark.parametrize(
    ("member", "schema"),
    [
        ("type", {"const": "Lost"}),
        ("type", {"enum": ["gone", "lost"]}),
        ("message", {"type": "object"}),
        ("context", TEXT),
        ("traceId", {"$ref": "#/$defs/number"}),
    ],
)
def test_an_error_whose_schema_refuses_what_every_error_has_is_a_remark(
    member: str, schema: JsonValue
) -> None:
    data: JsonObject = {
        "type": "object",
        "properties": {"type": {"enum": ["Gone", "Lost"]}, "context": {}, "left": TEXT, member: schema},
        "$defs": {"number": {"type": "number"}},
    }
    errors: JsonObject = {"Gone": {"type": "Gone", "schema": {"schema": "Data"}}}

    ((place, what),) = remarks(
        contract(schemas={"Thing": TEXT, "Data": data}, errors=errors, **calling(["Gone"]))
    )

    assert (place, what) == ("/errors/Gone/schema", f'"Data" refuses the "{member}" that every "Gone" has')


@pytest.mark.parametrize("schema", EMPTY)
@pytest.mark.parametrize("member", ["result", "payload"])
def test_a_queue_that_can_not_work_is_a_remark(member: str, schema: JsonValue) -> None:
    keep: JsonObject = {"payload": {"schema": "Thing"}, member: {"schema": "Never"}}
    document = contract(schemas={"Thing": TEXT, "Never": schema}, jobs={"keep": keep, "use": job()})

    ((place, what),) = remarks(document)

    assert place == f"/jobs/keep/{member}"
    assert 'no value matches the schema "Never"' in what


def test_a_reference_where_a_schemas_name_belongs_gets_a_hint() -> None:
    found = problems(contract(jobs={"keep": {"payload": {"$ref": "#/schemas/Thing"}}}))

    assert 'name an entry of "schemas": {"schema": "Thing"}' in [problem.hint for problem in found]


@pytest.mark.parametrize(
    ("contract_id", "package"),
    [("orders@v1", "orders_participant"), ("orders-service@v2", "orders_v2_participant"), ("a.b@v10", "a_b_v10_participant")],
)  # fmt: skip
def test_a_package_has_the_version_from_the_second_on(contract_id: str, package: str) -> None:
    assert naming.default_package(contract_id) == package


def generate(
    *arguments: str, folder: Path, text: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trellis_codegen", *arguments],
        cwd=folder,
        input=text,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dash_reads_standard_input(tmp_path: Path) -> None:
    text = json.dumps(contract(jobs={"keep": job()}))

    for command in (["digest", "-"], ["facade", "-"], ["facade", "-", "--check"]):
        ended = run_generator(*command, folder=tmp_path, text=text)
        assert ended.exit_code == 0, ended.stderr
    assert generate("validate", "-", folder=tmp_path, text=text).returncode == 0
    assert "from stdin." in (tmp_path / "things_participant/jobs.py").read_text()


def test_standard_input_can_not_be_watched(tmp_path: Path) -> None:
    ended = run_generator("facade", "-", "--watch", folder=tmp_path, text="{}")

    assert (ended.exit_code, "standard input is read once" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "0"}, False), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)  # fmt: skip
def test_force_color_colours_a_pipe(environment: dict[str, str], is_coloured: bool, tmp_path: Path) -> None:
    ended = generate("validate", "-", folder=tmp_path, text="{}", **environment)

    assert ("\x1b[1;31m" in ended.stderr) is is_coloured


def test_a_name_too_long_for_a_file_is_an_error_at_its_place(tmp_path: Path) -> None:
    text = json.dumps(contract(schemas={"Thing": {"properties": {"a" * 300: TEXT}}, "B" * 300: TEXT}))

    ended = run_generator("facade", "-", folder=tmp_path, text=text)

    assert ended.exit_code == 3
    assert "the name of its file would be longer than 200 characters" in ended.stderr
    assert "[tool.trellis-gen.names]" in ended.stderr
