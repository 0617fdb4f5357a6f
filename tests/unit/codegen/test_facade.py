"""The command `trellis-gen facade`: its exit codes, its streams, and the same bytes everywhere."""

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.unit.codegen.contracts import TEXT, contract, job, rpc
from trellis_codegen.cli import facade
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.requests import Mode, Request
from trellis_codegen.cli.targets import Choices

ROOT = Path(__file__).parents[3]


def write(path: Path, **sections: object) -> Path:
    path.write_text(json.dumps({**contract(), **sections}, indent=2))
    return path


def run(
    manifest: Path, out: Path, *, package: str | None = None, check: bool = False, strict: bool = False
) -> int:
    choices = Choices(manifest=manifest, out=out, package=package, strict=strict)
    return facade.run(Request(choices=choices, mode=Mode.CHECK if check else Mode.WRITE))


def test_a_package_is_generated_and_then_found_fresh(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write(tmp_path / "things.json", jobs={"keep": job()})

    assert run(manifest, tmp_path, check=True) == ExitCode.DRIFT
    assert not (tmp_path / "things_participant").exists()
    output = capsys.readouterr()
    assert "+class KeepQueue(JobQueue[Thing, None]):" in output.out
    assert output.err.endswith("files differ; run the same command without --check to write\n")
    assert run(manifest, tmp_path) == ExitCode.OK
    assert capsys.readouterr().out == ""
    assert run(manifest, tmp_path, check=True) == ExitCode.OK
    assert capsys.readouterr() == ("", f"{tmp_path}/things_participant is up to date\n")


def test_an_edit_of_one_queue_changes_its_file_and_the_contract(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(write(tmp_path / "things.json", jobs={"keep": job()}, rpc={"Get": rpc("Get")}), tmp_path)
    manifest = write(tmp_path / "things.json", jobs={"keep": job(maxDeliver=3)}, rpc={"Get": rpc("Get")})

    run(manifest, tmp_path, check=True)

    folder = f"{tmp_path}/things_participant"
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("+++")] == [
        f"+++ {folder}/{name}" for name in ("_contract.py", "contract.json", "jobs.py")
    ]
    assert lines[-1] == f"{folder}/.trellis-gen.json differs: hashes and versions"


def test_the_package_can_have_another_name(tmp_path: Path) -> None:
    assert run(write(tmp_path / "x.json"), tmp_path, package="stuff") == ExitCode.OK
    assert (tmp_path / "stuff" / "service.py").exists()


@pytest.mark.parametrize("name", ["two words", "../up", "class", "Stuff", "", "ünï"])
def test_an_invalid_package_name_is_a_usage_error(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path / "x.json"), tmp_path, package=name) == ExitCode.USAGE
    assert "is not a valid Python package name" in capsys.readouterr().err


def test_a_missing_manifest_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.json", tmp_path) == ExitCode.USAGE
    assert run(tmp_path, tmp_path) == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path}/none.json: cannot read the manifest: no such file or directory",
        f"error: {tmp_path}: cannot read the manifest: is a directory",
    ]


def test_an_output_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")

    assert run(write(tmp_path / "x.json"), tmp_path / "file") == ExitCode.REFUSED
    assert capsys.readouterr().err.startswith("error: ")


def test_an_invalid_manifest_writes_nothing_and_reports_every_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write(tmp_path / "x.json", kind="servise", jobs={"a-b": job("None"), "aB": {}})

    assert run(manifest, tmp_path) == ExitCode.INVALID

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[-3:] == [
        f"{manifest}: 3 errors; nothing was written",
        f"{manifest}: jobs/aB was not checked further, because of its errors; correct them, and run the command again",
        "more: trellis-gen explain wrong-value unknown-schema missing-field",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_strict_makes_unknown_fields_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write(tmp_path / "x.json", future=1)

    assert run(manifest, tmp_path) == ExitCode.OK
    assert "warning[unknown-field]: future: unknown field" in capsys.readouterr().err
    assert run(manifest, tmp_path, strict=True) == ExitCode.INVALID


def test_what_is_not_generated_is_reported_on_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {"kind": "value", "schema": {"schema": "Thing"}}
    manifest = write(tmp_path / "x.json", state={"last": state}, resources={"kv": {"b": {"purpose": "x"}}})

    for _ in range(2):
        assert run(manifest, tmp_path) == ExitCode.OK
        assert [
            text.partition("\n")[0] for text in re.split(r"warning\[[a-z-]+\]: ", capsys.readouterr().err)[1:]
        ] == [
            "state/last: not generated: only apps, devices and agents have state",
            "resources/kv/b: no schema: its values are any JSON",
        ]


def test_a_package_has_the_order_of_its_manifest_and_the_digest_does_not_depend_on_it(tmp_path: Path) -> None:
    schemas: JsonValue = {"Thing": {"type": "object", "properties": {"b": TEXT, "a": TEXT}}}
    document = contract(
        schemas=schemas, jobs={"b": job(), "a": job(maxDeliver=2)}, rpc={"X.B": rpc("X.B"), "X.A": rpc("X.A")}
    )
    for folder, each in (("one", document), ("two", backwards(document))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.json").write_text(json.dumps(each))
        run(tmp_path / folder / "x.json", tmp_path / folder)

    one, two = tmp_path / "one/things_participant", tmp_path / "two/things_participant"
    assert (one / "_contract.py").read_bytes() == (two / "_contract.py").read_bytes()
    for name, first, second in (
        ("jobs.py", "class BQueue", "class AQueue"),
        ("rpc.py", "X_B: Final", "X_A: Final"),
        ("models/thing.py", "    b: ", "    a: "),
    ):
        text, backwards_text = (one / name).read_text(), (two / name).read_text()
        assert text.index(first) < text.index(second)
        assert backwards_text.index(first) > backwards_text.index(second)


def test_a_manifest_that_was_only_rearranged_is_generated_again(tmp_path: Path) -> None:
    run(write(tmp_path / "x.json", jobs={"b": job(), "a": job()}), tmp_path)
    manifest = write(tmp_path / "x.json", jobs={"a": job(), "b": job()})

    assert run(manifest, tmp_path, check=True) == ExitCode.DRIFT
    assert run(manifest, tmp_path) == ExitCode.OK
    assert run(manifest, tmp_path, check=True) == ExitCode.OK


def test_the_contract_in_a_package_generates_the_same_package(tmp_path: Path) -> None:
    line: JsonValue = {"type": "object", "properties": {"b": TEXT, "a": TEXT}}
    schemas: JsonValue = {
        "Z": {"type": "object", "properties": {"line": line}},
        "Thing": {"type": "object", "properties": {"line": line}},
    }
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    run(write(tmp_path / "contract.json", schemas=schemas, jobs={"b": job(), "a": job()}), tmp_path / "one")
    package = tmp_path / "one/things_participant"

    run(package / "contract.json", tmp_path / "two")

    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.parametrize(("seed", "locale"), [("0", "C"), ("1", "C.UTF-8")])
def test_the_example_is_fresh_whatever_the_hash_seed_locale_and_folder(
    tmp_path: Path, seed: str, locale: str
) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "PYTHONUTF8": "0"}
    command = [
        sys.executable,
        "-m",
        "trellis_codegen",
        "facade",
        str(ROOT / "contracts/orders_service.manifest.json"),
        "--with",
        str(ROOT / "contracts"),
    ]

    ended = subprocess.run(
        [*command, "--out", str(ROOT / "examples/orders_service"), "--check"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.stdout, ended.returncode) == ("", ExitCode.OK)


def backwards(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(value)}
    return value


def test_the_version_is_that_of_the_distribution() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "trellis_codegen", "--version"], capture_output=True, text=True, check=True
    )

    assert ended.stdout == f"trellis-gen {importlib.metadata.version('trellis-codegen')}\n"


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "x.json"]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
