"""`trellis-gen breaking --explain` and `--list`."""

from __future__ import annotations

from typing import Final

from tests.support.generator import run_generator

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


def test_every_rule_is_listed() -> None:
    lines = run_generator("breaking", "--list").stdout.splitlines()

    assert f"{RULE}: " in "\n".join(lines)
    assert len(lines) == len(set(lines)) > 600
