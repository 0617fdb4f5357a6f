"""The reference of the manifest: complete, true of the runtime, and the same in the page, in editors and in `explain`."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import cast

import pytest
from pydantic import JsonValue
from trellis_nats import specs

from tests.support.generator import run_generator
from tests.support.judging import judge_of
from tests.unit.codegen.contracts import JsonObject, problems
from trellis_codegen.cli import explain
from trellis_codegen.contract.editor_schema import editor_schema
from trellis_codegen.contract.reference import list_sections, walk_members, write_path
from trellis_codegen.contract.reference_page import write_reference
from trellis_codegen.rule_ids import Rule

PAGE = Path(__file__).parents[3] / "docs/reference/manifest.md"


def described_members() -> Iterator[tuple[str, JsonObject, bool]]:
    """Yield the members of the schema for editors, and whether each is required."""
    schema = editor_schema()
    objects = cast("dict[str, JsonObject]", schema["$defs"])
    for name, node in {**objects, "": schema}.items():
        required = cast("list[str]", node.get("required", []))
        for member, each in cast("dict[str, JsonObject]", node["properties"]).items():
            yield f"{name}.{member}", each, member in required


def test_the_page_is_fresh() -> None:
    page = write_reference()

    assert page == PAGE.read_text(encoding="utf-8"), "run make generate"
    assert run_generator("schema", "--markdown").stdout == page


def test_editors_get_a_description_and_a_default_for_every_member() -> None:
    members = [*described_members()]

    assert len(members) > 120
    assert [name for name, node, _ in members if not node.get("description")] == []
    assert [
        name
        for name, node, is_required in members
        if is_required == ("default" in node or "If absent:" in str(node["description"]))
    ] == []
    assert "python" not in json.dumps([[*node] for _, node, _ in members])


def test_defaults_and_examples_match_their_members() -> None:
    definitions = editor_schema()["$defs"]
    wrong = [
        (name, value)
        for name, node, _ in described_members()
        for value in [*cast("list[JsonValue]", node.get("examples", [])), node.get("default")]
        if value is not None and not judge_of({**node, "$defs": definitions}).is_valid(value)
    ]

    assert wrong == []


def test_the_examples_are_one_contract_without_problems() -> None:
    whole, *_ = list_sections()

    assert problems(whole.example, strict=True) == []


def test_what_a_member_becomes_in_python_exists() -> None:
    named = {
        (spec, attribute)
        for member in walk_members()
        for spec, attribute in re.findall(r"`(\w+Spec)\.(\w+)", member.python)
    }

    assert len(named) > 30
    for spec, attribute in named:
        kind = getattr(specs, spec)
        assert is_dataclass(kind)
        assert attribute in {field.name for field in fields(kind)}, (spec, attribute)


def test_a_section_links_to_the_sections_of_its_objects() -> None:
    titles = re.findall(r"^## (.*)$", write_reference(), re.MULTILINE)
    anchors = {title.lower().replace(".", "").replace(" ", "-") for title in titles}

    assert len(titles) == len(anchors)
    assert {*re.findall(r"\]\(#([^)]*)\)", write_reference())} <= anchors


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("jobs.ackWaitMs", "jobs.<name>.ackWaitMs"),
        ("jobs.<any>.ackWaitMs", "jobs.<name>.ackWaitMs"),
        ("jobs.reserve-inventory.ackWaitMs", "jobs.<name>.ackWaitMs"),
        ("/jobs/reserve-inventory/ackWaitMs", "jobs.<name>.ackWaitMs"),
        ("/jobs/reserve-inventory", "jobs"),
        ("jobs.<queue>", "jobs"),
        ("jobs.docs", "jobs.<name>.docs"),
        ("docs", "docs"),
        ("rpc.Orders.Get.subject", "rpc.<name>.subject"),
        ("/rpc/Orders.Get/errors/0/type", "rpc.<name>.errors.type"),
        ("/schemas/Order/properties/a~1b", "schemas"),
        ("keyConcurrency.key", "jobs.<name>.keyConcurrency.key"),
        ("whenFull", "jobs.<name>.queue.whenFull"),
    ],
)
def test_a_member_is_explained_by_any_of_its_names(asked: str, path: str) -> None:
    ended = run_generator("explain", asked)

    member = next(member for member in walk_members() if write_path(member.path) == path)
    assert ended.exit_code == 0
    assert ended.stdout.startswith(f"{path}: {member.kind}")
    assert f"  {member.description}\n" in ended.stdout


def test_a_bare_name_explains_every_member_of_that_name() -> None:
    explained = run_generator("explain", "ackWaitMs").stdout

    assert re.findall(r"^\S+(?=: )", explained, re.MULTILINE) == [
        "jobs.<name>.ackWaitMs",
        "eventConsumers.<name>.ackWaitMs",
    ]
    assert "if absent: `300000`" in explained


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("jobs.ackWaitM", 'did you mean "jobs.ackWaitMs"?'),
        ("QUEUE_REMOVD", 'did you mean "QUEUE_REMOVED"?'),
        ("JobNotFond", 'did you mean "JobNotFound"?'),
        (
            "maxAttempts",
            "other systems have that word, and a contract has maxDeliver: trellis-gen explain maxDeliver",
        ),
        (
            "jobs.timeout",
            "other systems have that word, and a contract has ackWaitMs: trellis-gen explain jobs.ackWaitMs",
        ),
        ("stale-jobs", "the checks of `trellis doctor` are listed in docs/reference/cli.md"),
        ("???", 'name a member such as "jobs.ackWaitMs"'),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(asked: str, words: str) -> None:
    ended = run_generator("explain", asked)

    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f'no error "{asked}"; {words}' in ended.stderr


def test_a_rule_is_explained_as_breaking_does() -> None:
    rule = "QUEUE_REMOVED"

    assert run_generator("explain", rule).stdout == run_generator("breaking", "--explain", rule).stdout


def test_an_error_of_the_runtime_is_explained_with_its_remedy() -> None:
    ended = run_generator("explain", "trellis_nats.JobNotFound", "jobs", "unknown-schema")

    assert ended.exit_code == 0
    assert ended.stdout.startswith("JobNotFound: error of trellis-nats\n  No job with this id is stored")
    assert "\n  remedy:  Check the id and the queue." in ended.stdout
    assert "\n\njobs: " in ended.stdout
    assert "\n\nunknown-schema: error" in ended.stdout


def test_without_a_name_everything_that_can_be_explained_is_listed() -> None:
    ended = run_generator("explain")

    words = set(ended.stdout.split())
    assert ended.exit_code == 0
    assert {*Rule} <= words
    assert {member.name for member in walk_members()} <= words
    assert {"JobNotFound", "CannotConnect"} <= words
    assert max(map(len, ended.stdout.splitlines())) <= 100


def test_on_a_terminal_nothing_is_in_backticks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setattr("sys.stdout", shown)

    explain.run(["jobs.ackWaitMs"])

    assert "if absent: 30000\n" in shown.getvalue()
    assert "`" not in shown.getvalue()
