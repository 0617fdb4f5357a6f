"""Every rule has an id, a meaning, a remedy, and an example that it reports; warnings can be ignored, errors cannot."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.house.rule_reference import PAGE, reference_page
from tests.support.generator import run_generator
from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.contract.rule_examples import RULE_EXAMPLES, RuleExample, write_contract
from trellis_codegen.contract.rule_texts import RULE_TEXTS
from trellis_codegen.contract.uses import OtherContract, OtherContracts
from trellis_codegen.plan.remarks import find_remarks
from trellis_codegen.plan.uses import plan_participant
from trellis_codegen.problems import Problem, ProblemsFound, Severity
from trellis_codegen.rule_ids import Rule

DRIVEN_ELSEWHERE = {Rule.CONFIGURATION, Rule.UNUSED_IGNORE, Rule.UNTRANSLATABLE_SCHEMA}
"""The first two below; of the third, no schema is known."""
ACCEPTED = {"rule": "dlq-not-enforced", "reason": "another runtime reads it"}


def drive(example: RuleExample) -> list[Problem]:
    """Return what the generator reports about an example."""
    others = OtherContracts()
    if example.other is not None:
        other = read_manifest(write_contract(example.other, "other@v1")).manifest
        others = OtherContracts(by_id={other.id: OtherContract(manifest=other, file="other.json")})
    try:
        reading = read_manifest(example.data)
        _, remarks = plan_participant(
            reading.manifest, others, source="x", package=None, generator="", names=example.names
        )
    except ProblemsFound as error:
        return [*error.problems]
    return [*reading.warnings, *remarks, *find_remarks(reading.manifest)]


def test_every_rule_is_described_and_has_an_example() -> None:
    assert RULE_TEXTS.keys() == {*Rule}
    assert RULE_EXAMPLES.keys() == {*Rule} - DRIVEN_ELSEWHERE
    assert reference_page() == PAGE.read_text(encoding="utf-8"), "run make generate"


@pytest.mark.parametrize("rule", RULE_EXAMPLES)
def test_an_example_is_reported_by_its_rule_and_by_no_other(rule: Rule) -> None:
    found = drive(RULE_EXAMPLES[rule])

    assert {problem.rule for problem in found} == {rule}
    assert {problem.severity is Severity.WARNING for problem in found} == {RULE_TEXTS[rule].is_warning}


def test_every_format_has_the_id(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(RULE_EXAMPLES[Rule.UNKNOWN_SCHEMA].data)

    text = run_generator("validate", path).stderr
    document = json.loads(run_generator("validate", path, "--json").stdout)
    sarif = json.loads(run_generator("validate", path, "--format", "sarif").stdout)["runs"][0]
    github = run_generator("validate", path, "--format", "github").stdout

    assert ": error[unknown-schema]: jobs/keep/payload: no schema named" in text
    assert text.splitlines()[-1] == "more: trellis-gen explain unknown-schema"
    assert [problem["rule"] for problem in document["problems"]] == ["unknown-schema"]
    assert [result["ruleId"] for result in sarif["results"]] == ["unknown-schema"]
    assert {*RULE_TEXTS} <= {rule["id"] for rule in sarif["tool"]["driver"]["rules"]}
    assert "title=unknown-schema%3A jobs/keep/payload::" in github


def test_unknown_fields_mention_strict_once(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(
        RuleExample({"jobs": {"keep": {"payload": {"schema": "Thing"}, "maxDelivers": 3, "x": 1}}}).data
    )

    warned, strict = run_generator("validate", path), run_generator("validate", path, "--strict")

    assert (warned.exit_code, strict.exit_code) == (0, 3)
    assert warned.stderr.splitlines()[-1] == "unknown fields are left out; with --strict, each is an error"
    assert warned.stderr.count("--strict") == 1
    assert "--strict" not in strict.stderr


def test_a_rule_is_explained() -> None:
    explained = run_generator("explain", "unknown-schema").stdout

    assert explained.startswith("unknown-schema: error, nothing is generated\n")
    assert RULE_TEXTS[Rule.UNKNOWN_SCHEMA].remedy in explained
    assert 'did you mean "unknown-schema"?' in run_generator("explain", "unknown-shema").stderr


def write_project(folder: Path, rule: Rule, *entries: dict[str, object]) -> None:
    (folder / "a.json").write_bytes(RULE_EXAMPLES[rule].data)
    lines = ['[[tool.trellis-gen.contracts]]\nmanifest = "a.json"']
    for entry in entries:
        lines += [
            "[[tool.trellis-gen.validate.ignore]]",
            *(f"{key} = {json.dumps(entry[key])}" for key in entry),
        ]
    (folder / "pyproject.toml").write_text("\n".join(lines))


@pytest.mark.parametrize(
    "where", [None, "/jobs/keep/dlq", "/jobs/keep", "things@v1/jobs", "things@v1/jobs/keep/dlq"]
)
@pytest.mark.parametrize("command", [("validate", "a.json"), ("facade", "--dry-run"), ("digest", "a.json")])
def test_a_warning_is_ignored_where_it_is_accepted(
    tmp_path: Path, where: str | None, command: tuple[str, ...]
) -> None:
    entry: dict[str, object] = {**ACCEPTED, **({"where": where} if where else {})}
    write_project(tmp_path, Rule.DLQ_NOT_ENFORCED, entry)

    ended = run_generator(*command, folder=tmp_path)

    assert ended.exit_code == 0
    assert "warning[" not in ended.stderr
    assert ("1 warning ignored by [tool.trellis-gen.validate]" in ended.stderr) is (command[0] != "digest")


@pytest.mark.parametrize("where", ["/jobs/kee", "other@v1/jobs", "/schemas"])
def test_an_entry_that_ignores_nothing_is_reported(tmp_path: Path, where: str) -> None:
    write_project(tmp_path, Rule.DLQ_NOT_ENFORCED, {**ACCEPTED, "where": where})

    ended = run_generator("validate", "a.json", folder=tmp_path)

    assert ended.exit_code == 0
    assert "warning[dlq-not-enforced]: jobs/keep/dlq" in ended.stderr
    assert "pyproject.toml:3:1: warning[unused-ignore]" in ended.stderr
    (tmp_path / "b.json").write_bytes(write_contract({}))
    assert "unused-ignore" not in run_generator("validate", "b.json", folder=tmp_path).stderr


def test_an_expired_entry_ignores_nothing(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    for until, is_ignored in ((today - timedelta(days=2), False), (today + timedelta(days=2), True)):
        write_project(tmp_path, Rule.DLQ_NOT_ENFORCED, {**ACCEPTED, "until": until.isoformat()})
        said = run_generator("validate", "a.json", folder=tmp_path).stderr

        assert ("warning[dlq-not-enforced]" in said) is not is_ignored
        assert (f"the ignore expired on {until}" in said) is not is_ignored


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"rule": "unknown-schema"}, '"unknown-schema" is an error, and errors cannot be ignored'),
        ({"rule": "dlq-not-enforce"}, 'did you mean "dlq-not-enforced"?'),
        ({"reason": "so"}, "expected a reason of at least 10 characters"),
        ({"where": "jobs"}, "expected a JSON pointer"),
        ({"until": "soon"}, "expected a date"),
        ({"reasons": "x"}, "unknown key"),
    ],
)
def test_a_wrong_entry_is_an_error(tmp_path: Path, entry: dict[str, object], words: str) -> None:
    write_project(tmp_path, Rule.DLQ_NOT_ENFORCED, {**ACCEPTED, **entry})

    ended = run_generator("validate", "a.json", folder=tmp_path)

    assert ended.exit_code == 2
    assert "error[configuration]" in ended.stderr
    assert words in ended.stderr
