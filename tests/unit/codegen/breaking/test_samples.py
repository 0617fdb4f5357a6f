"""`trellis-gen breaking --samples`, `--only` and `--prune-ignores`."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue

from tests.support.generator import Ended, run_generator
from tests.unit.codegen.contracts import TEXT, JsonObject, contract, job

OPEN: Final[JsonObject] = {"type": "object", "properties": {"id": TEXT}, "required": ["id"]}
CLOSED: Final[JsonObject] = {**OPEN, "additionalProperties": False}
TYPED: Final[JsonObject] = {**OPEN, "properties": {"id": TEXT, "size": {"type": "integer"}}}


def write(path: Path, thing: JsonObject) -> None:
    jobs: JsonObject = {"keep": job()}
    schemas: JsonObject = {"Thing": thing}
    path.write_text(json.dumps(contract(schemas=schemas, jobs=jobs), indent=2))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").mkdir()
    write(tmp_path / "old.json", OPEN)
    return tmp_path


def sample(folder: Path, file: str, payload: JsonValue, **members: JsonValue) -> None:
    contract_id = json.loads((folder / "old.json").read_text())["id"]
    body: JsonObject = {
        "version": 1,
        "contract": contract_id,
        "kind": "payload",
        "name": "keep",
        "payload": payload,
        **members,
    }
    (folder / f"samples/{file}.json").write_text(json.dumps(body))


def compare(folder: Path, new: JsonObject, *options: str) -> Ended:
    write(folder / "new.json", new)
    return run_generator("breaking", "old.json", "new.json", *options)


def test_a_sample_that_only_the_old_contract_reads_is_a_break(folder: Path) -> None:
    """Undeclared members are risky to the comparison, because nothing says that they occur. A sample does."""
    sample(folder, "a", {"id": "1", "size": "large"})
    sample(folder, "b", {"id": "1"})

    without = compare(folder, TYPED)
    result = compare(folder, TYPED, "--samples", "samples")

    assert without.exit_code == 0
    assert result.exit_code == 1, result.stdout
    assert "break SAMPLE_REFUSED new.json:" in result.stdout
    assert "1 sample of real payloads cannot be read any longer: samples/a.json" in result.stdout
    assert '"size": "large"' in result.stdout
    assert "2 samples: 1 " in result.stderr
    assert "1 read by the old contract only" in result.stderr


def test_the_remedy_names_the_versions_that_wrote_the_samples(folder: Path) -> None:
    """They may be older than OLD: an upcaster with the digest of OLD would not read them."""
    for number, digest in enumerate(("A" * 43, "B" * 43, "A" * 43, None)):
        sample(folder, str(number), {"id": "1", "size": "large"}, digest=digest)

    result = compare(folder, TYPED, "--samples", "samples")

    _, _, remedy = result.stdout.partition("break SAMPLE_REFUSED")
    assert f'or register an upcaster: from_digest="{"A" * 43}", "{"B" * 43}"' in remedy
    assert remedy.count("from_digest=") == 1


def test_samples_of_unknown_versions_need_an_upcaster_without_a_digest(folder: Path) -> None:
    sample(folder, "a", {"id": "1", "size": "large"})

    result = compare(folder, TYPED, "--samples", "samples")

    assert "or register an upcaster without from_digest" in result.stdout
    assert "from_digest=" not in result.stdout.partition("break SAMPLE_REFUSED")[2]


def test_a_folder_without_samples_is_noted(folder: Path) -> None:
    """In CI it means that nothing is checked: the folder's name is misspelt, or its files are not committed."""
    result = compare(folder, OPEN, "--samples", "samples")

    assert result.exit_code == 0
    assert result.stderr == "samples has no samples\nnothing changed\n"


def test_samples_that_are_read_turn_no_break_into_anything_else(folder: Path) -> None:
    sample(folder, "a", {"id": "1", "size": 2})
    required: JsonObject = {**TYPED, "required": ["id", "size"]}

    result = compare(folder, required, "--samples", "samples")

    assert result.exit_code == 1
    assert "JOB_PAYLOAD_FIELD_REQUIRED_ADDED" in result.stdout
    assert "SAMPLE_REFUSED" not in result.stdout


def test_a_sample_that_the_old_contract_refuses_too_does_not_count(folder: Path) -> None:
    sample(folder, "a", {"id": 1})
    sample(folder, "b", {"id": 1}, contract="other@v1")
    sample(folder, "c", {"id": 1}, name="gone")
    sample(folder, "d", {"id": 1}, kind="event")

    result = compare(folder, CLOSED, "--samples", "samples")

    assert result.exit_code == 0
    assert (
        "3 samples: 1 not read by the old contract either, and not counted, 2 of other contracts or queues"
        in result.stderr
    )


def test_json_has_the_sample_as_the_witness_and_it_can_be_ignored(folder: Path) -> None:
    sample(folder, "a", {"id": "1", "x": 1})
    (folder / "pyproject.toml").write_text(
        '[[tool.trellis-gen.breaking.ignore]]\nrule = "SAMPLE_REFUSED"\nreason = "an upcaster reads them"\n'
        f"until = {datetime.now(UTC).date() + timedelta(days=10)}\n"
    )

    result = compare(folder, CLOSED, "--samples", "samples", "--json")

    (finding,) = (
        each
        for each in json.loads(result.stdout)["comparisons"][0]["findings"]
        if each["rule"] == "SAMPLE_REFUSED"
    )
    assert result.exit_code == 0
    assert finding["witnesses"] == [{"direction": "old-to-new", "value": {"id": "1", "x": 1}}]
    assert finding["ignored"]["reason"] == "an upcaster reads them"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "samples/a.json is not JSON"),
        ("[]", "samples/a.json is not a sample"),
        ('{"version": 2}', "is not a sample of version 1"),
        ('{"version": 1, "contract": "a@v1", "kind": "payload", "name": 1, "payload": 1}', "it lacks name"),
        ('{"version": 1, "contract": "a@v1", "kind": "payload", "name": "keep"}', "it lacks payload"),
        ('{"version": 1, "contract": "a@v1", "kind": "payload", "name": "k", "payload": NaN}', "NaN"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_not_a_sample_is_named(folder: Path, text: str, words: str) -> None:
    (folder / "samples/a.json").write_text(text)

    result = compare(folder, CLOSED, "--samples", "samples")

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


@pytest.mark.timeout(20)
def test_a_pipe_among_the_samples_is_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "samples/a.json")

    result = compare(folder, CLOSED, "--samples", "samples")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "samples/a.json is not a file" in result.stderr


def test_a_folder_that_does_not_exist_is_named(folder: Path) -> None:
    result = compare(folder, CLOSED, "--samples", "nowhere")

    assert result.exit_code == 2
    assert "--samples nowhere is not a folder" in result.stderr


def test_the_rule_is_explained() -> None:
    result = run_generator("breaking", "--explain", "SAMPLE_REFUSED")

    assert result.exit_code == 0
    assert "trellis audit export" in result.stdout
    assert "SAMPLE_REFUSED:" in run_generator("breaking", "--list").stdout


def test_only_some_parties_may_count(folder: Path) -> None:
    required: JsonObject = {**TYPED, "required": ["id", "size"]}

    queued = compare(folder, required, "--only", "queued,stored")
    listeners = compare(folder, required, "--only", "listeners")
    unknown = compare(folder, required, "--only", "queued,people")

    assert queued.exit_code == 1
    assert "JOB_PAYLOAD_FIELD_REQUIRED_ADDED" in queued.stdout
    assert (listeners.exit_code, listeners.stdout) == (0, "")
    assert unknown.exit_code == 2
    assert '"people" is not a column; the columns are producers, queued' in unknown.stderr


def test_ignores_that_match_nothing_are_listed(folder: Path) -> None:
    entry = (
        '[[tool.trellis-gen.breaking.ignore]]\nrule = "{}"\nreason = "it is not in use"\nuntil = 2026-12-31\n'
    )
    rules = ("JOB_PAYLOAD_OBJECT_CLOSED", "QUEUE_REMOVED")
    (folder / "pyproject.toml").write_text("".join(map(entry.format, rules)))

    result = compare(folder, CLOSED, "--prune-ignores")
    clean = compare(folder, CLOSED, "--prune-ignores", "--json")

    assert (result.exit_code, result.stdout) == (1, "rule = QUEUE_REMOVED, until = 2026-12-31\n")
    assert clean.exit_code == 2
