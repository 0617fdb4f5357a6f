"""`trellis-gen breaking`: where contracts come from, what fails the run, what is ignored, and every format."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
from pydantic import JsonValue

from tests.support.generator import Ended, run_generator
from tests.unit.codegen.contracts import TEXT, JsonObject, contract, job
from tests.unit.codegen.sarif_schema import SARIF

WHOLE: Final[JsonValue] = {"type": "integer"}
OLD: Final[JsonObject] = {"type": "object", "properties": {"thingId": TEXT}, "required": ["thingId"]}
NEW: Final[JsonObject] = {
    "type": "object",
    "properties": {"thingId": TEXT, "size": WHOLE},
    "required": ["thingId", "size"],
}
RULE: Final = "JOB_PAYLOAD_FIELD_REQUIRED_ADDED"


def keep(thing: JsonObject, **sections: JsonValue) -> str:
    jobs: JsonObject = {"keep": job()}
    schemas: JsonObject = {"Thing": thing}
    complete: JsonObject = {"schemas": schemas, "jobs": jobs, **sections}
    return json.dumps(contract(**complete), indent=2)


def git(*arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", *arguments],  # noqa: S607 - git is found as the user finds it
        check=True,
        capture_output=True,
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose contract breaks what its branch `main` has; the current folder is its root."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts/things.json").write_text(keep(OLD))
    (tmp_path / "pyproject.toml").write_text(
        '[tool.trellis-gen.breaking]\nagainst = "git:main"\n\n'
        '[[tool.trellis-gen.contracts]]\nmanifest = "contracts/things.json"\n'
    )
    git("init", "--quiet", "--initial-branch=main")
    git("add", "--all")
    git("commit", "--quiet", "--message=one")
    (tmp_path / "contracts/things.json").write_text(keep(NEW))
    return tmp_path


def ignore(project: Path, **entry: str) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in entry.items()]
    with (project / "pyproject.toml").open("a") as file:
        file.write("\n[[tool.trellis-gen.breaking.ignore]]\n" + "\n".join(lines) + "\n")


def in_days(days: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def rules(ended: Ended) -> list[str]:
    (comparison,) = json.loads(ended.stdout)["comparisons"]
    return [finding["rule"] for finding in comparison["findings"]]


def test_a_break_is_shown_with_its_line_a_value_who_breaks_and_the_way_out(project: Path) -> None:
    ended = run_generator("breaking")

    assert ended.exit_code == 1
    lines = ended.stdout.splitlines()
    assert lines[0].startswith(f"break {RULE} contracts/things.json:")
    assert lines[1].startswith(
        "  job queue keep, payload: /size is required now; old producers and callers, "
    )
    assert "jobs already queued and replays of dead jobs do not have it" in lines[1]
    assert lines[2].endswith('"size": {')
    assert lines[3].endswith("^^^^^^ /schemas/Thing/properties/size")
    assert lines[4] == '    for example {"thingId": ""}: the old contract writes it, the new one refuses it'
    assert lines[5:7] == ["    in two steps:", "      1. Release it as optional; writers begin to send it."]
    digest = json.loads(run_generator("breaking", "--json").stdout)["comparisons"][0]["old"]["digest"]
    assert lines[8].startswith(
        "      Or register an upcaster in the new version, which reads the old payloads"
    )
    assert lines[8].endswith(f'from_digest="{digest}"')
    assert ended.stderr.startswith("1 break; breaks: producers 1, queued 1, dead-jobs 1")


@pytest.mark.parametrize(
    "sources",
    [
        ("git:main", "contracts/things.json"),
        ("git:main:contracts/things.json", "contracts/things.json"),
        ("git:HEAD",),
        ("contracts/things.json",),
        ("git:merge-base(main, HEAD)",),
        ("git:merge-base(main)",),
    ],
)
def test_contracts_are_read_from_files_and_from_revisions(project: Path, sources: tuple[str, ...]) -> None:
    ended = run_generator("breaking", *sources, "--json")

    assert ended.exit_code == 1
    assert rules(ended) == [RULE]


def test_a_revision_is_found_from_a_subfolder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "src").mkdir()
    monkeypatch.chdir(project / "src")

    assert rules(run_generator("breaking", "git:main", "../contracts/things.json", "--json")) == [RULE]
    assert run_generator("breaking").exit_code == 1


def test_a_generated_package_is_a_contract(project: Path) -> None:
    manifest = project / "contracts/things.json"
    assert (
        run_generator("facade", manifest, "--out", project, "--package", "things", "--quiet").exit_code == 0
    )
    manifest.write_text(keep(OLD))

    assert rules(run_generator("breaking", manifest, project / "things", "--json")) == [RULE]


def test_a_contract_that_is_new_has_nothing_to_break(project: Path) -> None:
    (project / "other.json").write_text(keep(NEW))

    ended = run_generator("breaking", "git:main", "other.json")

    assert (ended.exit_code, ended.stdout) == (0, "")
    assert ended.stderr == "git:main:other.json does not exist, so that there is nothing to compare with\n"


def test_what_does_not_exist_is_an_error_that_says_what_to_do(project: Path) -> None:
    ended = run_generator("breaking", "git:nowhere", "contracts/things.json")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == 'error: git has no revision "nowhere"; run git fetch origin, or check its name\n'

    ended = run_generator("breaking", "none.json", "contracts/things.json")
    assert ended.exit_code == 2
    assert ended.stderr == "error: none.json: cannot read the contract: no such file or directory\n"

    ended = run_generator("breaking", "git:--help", "contracts/things.json")
    assert ended.exit_code == 2
    assert 'no revision "--help"' in ended.stderr


def test_a_shallow_checkout_is_told_what_to_fetch(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    git("commit", "--quiet", "--all", "--message=two")
    clone = tmp_path_factory.mktemp("clone")
    git("clone", "--quiet", "--depth=1", project.as_uri(), str(clone))

    ended = subprocess.run(
        [sys.executable, "-m", "trellis_codegen", "breaking", "git:HEAD~1"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2
    assert "the checkout is shallow: run git fetch --unshallow origin" in ended.stderr


def test_without_anything_to_compare_with_the_error_says_how_to_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text(keep(OLD))

    for arguments in ((), ("a.json",)):
        ended = run_generator("breaking", *arguments)
        assert ended.exit_code == 2
        assert "error: nothing to compare with: name OLD and NEW" in ended.stderr
    assert "name OLD and NEW" in run_generator("breaking", "git:main").stderr
    assert run_generator("breaking", "a", "b", "c").exit_code == 2


def test_an_invalid_contract_is_named_and_compared_with_nothing(project: Path) -> None:
    (project / "contracts/things.json").write_text(keep(NEW, jobs={"keep": job("Thign")}))
    ended = run_generator("breaking")
    assert (ended.exit_code, ended.stdout) == (3, "")
    assert ended.stderr.startswith("contracts/things.json:")
    assert 'no schema named "Thign"' in ended.stderr

    broken: JsonObject = {"type": "strng"}
    (project / "contracts/things.json").write_text(keep(broken))
    ended = run_generator("breaking", "contracts/things.json", "git:main")
    assert ended.exit_code == 3
    assert '"strng" is not a JSON Schema type' in ended.stderr
    (project / "contracts/things.json").write_text(
        keep({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})
    )
    ended = run_generator("breaking", "--json")
    assert ended.exit_code == 3
    assert json.loads(ended.stdout)["problems"][0]["file"] == "contracts/things.json"


@pytest.mark.parametrize("output_format", ["text", "github", "junit", "json", "sarif"])
def test_an_invalid_contract_does_not_hide_the_break_of_another(project: Path, output_format: str) -> None:
    (project / "contracts/broken.json").write_text("{}")
    git("add", "contracts/broken.json")
    git("commit", "--quiet", "--message=two")
    with (project / "pyproject.toml").open("a") as file:
        file.write('\n[[tool.trellis-gen.contracts]]\nmanifest = "contracts/broken.json"\n')

    ended = run_generator("breaking", "--format", output_format)

    assert (ended.exit_code, RULE in ended.stdout) == (3, True)
    assert RULE not in run_generator("breaking", "--prune-ignores").stdout
    assert ("missing-field" in ended.stdout) is (output_format not in ("text", "junit"))
    is_document = output_format not in ("text", "github")
    assert ("the contract has errors" in ended.stdout) is is_document


@pytest.mark.parametrize(
    ("fail_on", "thing", "code"),
    [
        ("break", NEW, 1),
        ("never", NEW, 0),
        ("break", {**OLD, "additionalProperties": False}, 0),
        ("risky", {**OLD, "additionalProperties": False}, 1),
        ("risky", {**OLD, "description": "A thing."}, 0),
    ],
)
def test_the_grade_decides_whether_the_run_fails(
    project: Path, fail_on: str, thing: JsonObject, code: int
) -> None:
    (project / "contracts/things.json").write_text(keep(thing))

    assert run_generator("breaking", "--fail-on", fail_on).exit_code == code


def test_with_a_stop_between_what_needs_both_versions_is_safe(project: Path) -> None:
    wider: JsonObject = {**OLD, "required": []}
    (project / "contracts/things.json").write_text(keep(wider))

    assert run_generator("breaking", "--fail-on", "risky").exit_code == 1
    ended = run_generator("breaking", "--fail-on", "risky", "--deploy", "stop", "--show", "safe")
    assert ended.exit_code == 0
    assert ended.stdout.startswith("safe JOB_PAYLOAD_FIELD_BECAME_OPTIONAL ")


def test_safe_changes_are_shown_on_request(project: Path) -> None:
    (project / "contracts/things.json").write_text(keep(OLD, jobs={"keep": job(maxDeliver=3)}))

    assert run_generator("breaking").stdout == ""
    assert run_generator("breaking", "--show", "safe").stdout.startswith("safe QUEUE_MAX_DELIVER_LOWERED ")
    assert run_generator("breaking").stderr == "nothing breaks; --show safe lists what changed\n"


def test_what_is_gone_is_shown_where_it_was(project: Path) -> None:
    (project / "contracts/things.json").write_text(keep(OLD, jobs={}))

    ended = run_generator("breaking")
    assert ended.stdout.startswith("break QUEUE_REMOVED git:main:contracts/things.json:")
    ended = run_generator("breaking", "--format", "github")
    assert ended.stdout.startswith("::error file=contracts/things.json,title=QUEUE_REMOVED::job queue keep: ")


def test_an_undecided_comparison_counts_as_a_break_and_says_so(project: Path) -> None:
    patterns: list[JsonObject] = [
        {**OLD, "properties": {"thingId": {"type": "string", "pattern": each}}}
        for each in ("^a+$", "^[ab]+$")
    ]
    (project / "old.json").write_text(keep(patterns[0]))
    (project / "new.json").write_text(keep(patterns[1]))

    ended = run_generator("breaking", "old.json", "new.json", "--json")

    assert ended.exit_code == 1
    (comparison,) = json.loads(ended.stdout)["comparisons"]
    finding = next(each for each in comparison["findings"] if not each["decided"])
    assert (finding["rule"], finding["grade"]) == ("JOB_PAYLOAD_NOT_DECIDED", "break")
    assert finding["reason"] == "PATTERN: patterns are compared as text only"
    assert json.loads(ended.stdout)["summary"]["undecided"] == 1
    shown = run_generator("breaking", "old.json", "new.json").stdout
    assert "break (not decided) JOB_PAYLOAD_NOT_DECIDED" in shown


def test_a_break_is_ignored_until_its_date(project: Path) -> None:
    ignore(
        project,
        rule=RULE,
        reason="the queue is empty",
        until=in_days(10),
        surface="job queue keep, payload",
        path="/size",
    )

    ended = run_generator("breaking")
    assert ended.exit_code == 0
    assert ended.stdout.startswith(f"break (ignored) {RULE} ")
    assert f"    ignored until {in_days(10)}: the queue is empty" in ended.stdout
    assert ended.stderr == "1 ignored\n"
    assert run_generator("breaking", "--format", "github").stdout == ""
    (result,) = json.loads(run_generator("breaking", "--format", "sarif").stdout)["runs"][0]["results"]
    assert result["suppressions"] == [{"kind": "external", "justification": "the queue is empty"}]


def test_an_ignore_that_has_expired_no_longer_counts(project: Path) -> None:
    ignore(project, rule=RULE, reason="the queue is empty", until=in_days(-1))

    ended = run_generator("breaking")

    assert ended.exit_code == 1
    assert f"; the ignore expired on {in_days(-1)}" in ended.stdout


def test_an_ignore_holds_for_its_rule_its_place_and_its_contract(project: Path) -> None:
    digest = run_generator("digest", "contracts/things.json").stdout.strip()
    for other in ({"path": "/thingId"}, {"surface": "job queue lose, payload"}, {"from": digest}):
        ignore(project, **{"rule": RULE, "reason": "the queue is empty", "until": in_days(10), **other})

    ended = run_generator("breaking")

    assert ended.exit_code == 1
    assert ended.stderr.count(f"the ignore of {RULE} matches nothing: remove it, or correct it") == 3


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"rule": "QUEUE_REMOVD"}, 'there is no rule "QUEUE_REMOVD"'),
        ({"reason": "short"}, "expected a reason of at least 10 characters"),
        ({"until": "soon"}, "expected a date"),
        ({"until": in_days(400)}, "a change is ignored for at most 180 days"),
        ({"rules": RULE}, "unknown key"),
    ],
)
def test_a_mistake_in_an_ignore_is_an_error_with_its_position(
    project: Path, entry: dict[str, str], what: str
) -> None:
    ignore(project, **{"rule": RULE, "reason": "the queue is empty", "until": in_days(10), **entry})

    ended = run_generator("breaking")
    document = json.loads(run_generator("breaking", "--json").stdout)

    assert (ended.exit_code, document["comparisons"]) == (2, [])
    assert ended.stderr.startswith("pyproject.toml:")
    assert what in ended.stderr


def test_json_is_one_document(project: Path) -> None:
    ended = run_generator("breaking", "--json")

    assert ended.stderr == ""
    document = json.loads(ended.stdout)
    assert (document["version"], document["refusals"]) == (1, [])
    assert document["summary"] == {"break": 1, "risky": 0, "safe": 0, "undecided": 0, "ignored": 0}
    (comparison,) = document["comparisons"]
    assert comparison["old"]["source"] == "git:main:contracts/things.json"
    (finding,) = comparison["findings"]
    assert finding["columns"] == ["producers", "queued", "dead-jobs"]
    assert (finding["direction"], finding["path"]) == ("old-to-new", "/size")
    assert finding["pointer"] == "/schemas/Thing/properties/size"
    assert finding["witnesses"] == [{"direction": "old-to-new", "value": {"thingId": ""}}]
    assert len(finding["remedy"]) == 2
    assert finding["hasUpcast"] is True
    assert json.loads(run_generator("breaking", "git:none", "x.json", "--json").stdout)["refusals"]


def test_sarif_keeps_its_standard_and_explains_each_rule(project: Path) -> None:
    log = json.loads(run_generator("breaking", "--format", "sarif").stdout)

    jsonschema.validate(log, SARIF)  # pyright: ignore[reportUnknownMemberType] - it has no types
    (run_of,) = log["runs"]
    (rule,) = run_of["tool"]["driver"]["rules"]
    assert rule["id"] == RULE
    assert "in two steps:" in rule["help"]["text"]
    (result,) = run_of["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "contracts/things.json"
    assert result["partialFingerprints"].keys() == {"change/v1"}


def test_junit_has_a_case_for_each_surface(project: Path) -> None:
    (project / "contracts/things.json").write_text(keep(NEW, jobs={"keep": job(), "new": job()}))

    root = ET.fromstring(run_generator("breaking", "--format", "junit").stdout)  # noqa: S314 - our own output

    (suite,) = root
    assert suite.attrib == {"name": "contracts/things.json", "tests": "1", "failures": "1", "errors": "0"}
    (case,) = suite
    assert case.attrib["name"] == "job queue keep, payload"
    assert [failure.attrib["type"] for failure in case] == [RULE]
    (project / "contracts/things.json").write_text(keep(OLD))
    assert 'failures="0"' in run_generator("breaking", "--format", "junit").stdout


def test_the_same_contracts_give_the_same_bytes(project: Path) -> None:
    (project / "contracts/things.json").write_text(
        keep({"type": "object", "properties": dict.fromkeys("abcdefgh", WHOLE), "required": [*"abcdefgh"]})
    )

    outputs = {
        subprocess.run(
            [sys.executable, "-m", "trellis_codegen", "breaking", "--show", "safe"],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(outputs) == 1
    assert next(iter(outputs)).count(b"FIELD_REQUIRED_ADDED") == 8


def test_a_contract_of_165_schemas_takes_less_than_two_seconds(tmp_path: Path) -> None:
    schemas: JsonObject = {}
    for index in range(165):
        lines: JsonObject = {
            "type": "array",
            "items": {"type": "object", "properties": {"sku": TEXT, "count": WHOLE}},
        }
        kind: JsonObject = {"anyOf": [{"const": f"a{index}"}, {"const": "b"}, {"type": "null"}]}
        schemas[f"S{index}"] = {**OLD, "properties": {"thingId": TEXT, "lines": lines, "kind": kind}}
    jobs: JsonObject = {
        f"q{index}": job(f"S{index}", result={"schema": f"S{164 - index}"}) for index in range(100)
    }
    events: JsonObject = {
        f"E{index}": {"version": "v1", "subject": f"events.v1.E{index}", "event": {"schema": f"S{index}"}}
        for index in range(165)
    }
    old = json.dumps(contract(schemas=schemas, jobs=jobs, events=events))
    new = old.replace('"count": {"type": "integer"}', '"count": {"type": "integer", "minimum": 1}')
    paths = [tmp_path / name for name in ("old.json", "new.json")]
    for path, text in zip(paths, (old, new), strict=True):
        path.write_text(text)

    started = time.process_time()  # other processes do not count
    ended = run_generator("breaking", *paths, "--quiet")
    taken = time.process_time() - started

    assert ended.exit_code == 1
    assert ended.stdout.count("BOUND_NARROWED") == 365
    assert taken < 2
