"""The commands that read contracts and write nothing: `validate`, `digest`, `schema`."""

import json
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.support.generator import run_generator
from tests.support.judging import judge_of
from tests.support.stub_contracts import write_stubs
from tests.unit.codegen.contracts import contract, job

MANIFESTS = Path(__file__).parents[3].parent / "shared" / "conformance" / "manifests"
ROOT = Path(__file__).parents[3]


def written(path: Path, **sections: JsonValue) -> Path:
    path.write_text(json.dumps(contract(**sections), indent=2))
    return path


def test_a_contract_without_errors_is_valid_and_nothing_is_written(tmp_path: Path) -> None:
    manifest = written(tmp_path / "a.json", jobs={"keep": job()})

    ended = run_generator("validate", manifest)

    assert (ended.exit_code, ended.stdout) == (0, "")
    assert ended.stderr == f"{manifest}: valid\n"
    assert [*tmp_path.iterdir()] == [manifest]


def test_every_contract_is_checked_and_the_greatest_code_is_returned(tmp_path: Path) -> None:
    good, bad = written(tmp_path / "good.json"), written(tmp_path / "bad.json", jobs={"a": job("None")})
    clash = written(tmp_path / "clash.json", jobs={"a-b": job(), "a_b": job()})

    ended = run_generator("validate", bad, clash, good, tmp_path / "none.json")

    assert ended.exit_code == 3
    assert 'no schema named "None"' in ended.stderr
    assert "would both become jobs.a_b" in ended.stderr
    assert f"{good}: valid" in ended.stderr
    assert "no such file" in ended.stderr


def test_strict_refuses_unknown_fields(tmp_path: Path) -> None:
    manifest = written(tmp_path / "a.json", jobs={"keep": job(maxDelivers=3)})

    assert run_generator("validate", manifest).exit_code == 0
    ended = run_generator("validate", manifest, "--strict", "--json")
    assert ended.exit_code == 3
    (problem,) = json.loads(ended.stdout)["problems"]
    assert (problem["place"], problem["hint"]) == ("jobs/keep/maxDelivers", 'did you mean "maxDeliver"?')


def test_a_digest_is_printed_alone_or_with_its_file(tmp_path: Path) -> None:
    one, two = written(tmp_path / "1.json"), written(tmp_path / "2.json", description="Other words.")

    digest = run_generator("digest", one).stdout.strip()

    assert len(digest) == 43
    assert run_generator("digest", one, two).stdout == f"{digest}  {one}\n{digest}  {two}\n"
    assert [
        each["digest"] for each in json.loads(run_generator("digest", "--json", one).stdout)["digests"]
    ] == [digest]


def test_a_contract_with_errors_has_no_digest(tmp_path: Path) -> None:
    ended = run_generator("digest", written(tmp_path / "a.json", jobs={"keep": job("None")}))

    assert (ended.exit_code, ended.stdout) == (3, "")


def test_the_schema_accepts_valid_contracts_only() -> None:
    judge = judge_of(json.loads(run_generator("schema").stdout))
    example: JsonValue = json.loads((ROOT / "contracts" / "orders_service.manifest.json").read_text())

    assert judge.is_valid(example)
    assert judge.is_valid(contract(**{"$schema": "trellis.json"}, schemas={"Thing": True}))
    for broken in (
        contract(kind="servise"),
        contract(jobs={"a": {}}),
        contract(jobs={"a": job(maxDeliver=0)}),
        contract(jobs={"a": job(maxDelivers=1)}),
        contract(docs=None),
        contract(schemas={"Thing": 3}),
    ):
        assert not judge.is_valid(broken)


@pytest.mark.skipif(not MANIFESTS.is_dir(), reason="shared/conformance is not next to the repository")
def test_the_real_manifests_match_the_schema_and_are_valid(tmp_path: Path) -> None:
    judge = judge_of(json.loads(run_generator("schema").stdout))
    manifests = sorted(MANIFESTS.glob("*.json"))

    assert len(manifests) == 12
    assert [path.name for path in manifests if not judge.is_valid(json.loads(path.read_text()))] == []
    others = write_stubs(tmp_path / "others", manifests)
    # In a folder without settings: those of this repository have a contract of the same id.
    arguments = ("validate", "--strict", *manifests, "--with", MANIFESTS, "--with", others)
    ended = run_generator(*arguments, folder=tmp_path)
    assert (ended.exit_code, ended.stderr.count(": valid")) == (0, 12)
