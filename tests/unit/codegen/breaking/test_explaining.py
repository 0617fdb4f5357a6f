"""`trellis-gen breaking --explain` and `--list`."""

from __future__ import annotations

import re
from typing import Final

import pytest
from pydantic import JsonValue

from tests.support.generator import run_generator
from trellis_codegen.breaking.explaining import describe_message, explain_rule, list_rules
from trellis_codegen.breaking.rules.contract_rules import CONTRACT_RULES
from trellis_codegen.breaking.rules.schema_rules import SCHEMA_RULES
from trellis_codegen.breaking.schemas.describing import show_witness

RULE: Final = "JOB_PAYLOAD_FIELD_REQUIRED_ADDED"


def test_a_rule_is_explained_with_examples_and_the_way_out() -> None:
    ended = run_generator("breaking", "--explain", RULE)
    assert ended.exit_code == 0
    assert "old values, new model: break: old producers and callers, jobs already queued" in ended.stdout
    assert "reported:" in ended.stdout
    assert "in two steps:" in ended.stdout
    assert "\nOr register an upcaster" in ended.stdout
    assert "(payloads of jobs only)" in run_generator("breaking", "--explain", "FIELD_RENAMED").stdout
    for rule in ("RPC_INPUT_FIELD_RENAMED", "JOB_PAYLOAD_ENUM_WIDENED"):
        assert "upcaster" not in run_generator("breaking", "--explain", rule).stdout
    ended = run_generator("breaking", "--explain", "QUEUE_REMOVD")
    assert (ended.exit_code, ended.stderr) == (
        2,
        'error: there is no rule "QUEUE_REMOVD"; did you mean "QUEUE_REMOVED"?\n',
    )


def test_no_explanation_has_a_placeholder() -> None:
    texts = {rule: explain_rule(rule) or "" for rule in [*list_rules(), *CONTRACT_RULES, *SCHEMA_RULES]}
    messages = [
        *map(describe_message, CONTRACT_RULES.values()),
        *map(describe_message, SCHEMA_RULES.values()),
    ]

    assert [
        rule
        for rule, text in texts.items()
        if not text or re.search(r"\{\w*\}", text.partition("reported:")[0])
    ] == []
    assert [message for message in messages if "{" in message] == []
    assert "  when a worker dies, the key of its job NEW now\n" in texts["QUEUE_STALE_POLICY_CHANGED"]


def test_every_rule_is_listed() -> None:
    lines = run_generator("breaking", "--list").stdout.splitlines()

    assert f"{RULE}: " in "\n".join(lines)
    assert len(lines) == len(set(lines)) > 600


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--list", "--json", "git:main"), "--list does not take OLD and NEW, --json; leave that out"),
        (("--explain", "RPC_REMOVED", "--list", "--fail-on", "risky"), "--explain does not take --list, --fail-on; leave that out"),
        (("--prune-ignores", "--show", "safe", "--only", "queued"), "--prune-ignores does not take --show, --only; leave that out"),
    ],
)  # fmt: skip
def test_an_option_that_would_have_no_effect_is_refused(arguments: tuple[str, ...], what: str) -> None:
    ended = run_generator("breaking", *arguments)

    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: {what}\n")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/lines/[]/sku", '"b" at /lines/[]/sku'),
        ("/lines/[]/tax", '{"sku": "b"} at /lines/[]'),
        ("/size", '{"name": "aaaa'),
        (None, '{"name": "aaaa'),
    ],
)
def test_of_a_long_example_the_part_that_differs_is_shown(path: str | None, shown: str) -> None:
    value: JsonValue = {"name": "a" * 200, "lines": [{"sku": "b"}]}

    assert show_witness(value, path).startswith(shown)
    assert show_witness({"size": 1}, "/size") == '{"size": 1}'
