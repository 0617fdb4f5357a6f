"""Writes docs/reference/breaking-proof.md from what drives the rules: part of `make generate`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from tests.house.sources import ROOT
from tests.support.rolling.driven import CASES, NOT_DRIVEN
from tests.support.rolling.surfaces import SPARED, WAYS
from trellis_codegen.breaking.rules.contract_rules import CONTRACT_RULES
from trellis_codegen.breaking.rules.grades import SURFACES, Direction, Hit

__all__ = ["PROOF_PAGE", "proof_page"]

PROOF_PAGE: Final[Path] = ROOT / "docs/reference/breaking-proof.md"

_INTRODUCTION: Final = """\
# How the rules about changes are proved

Each [rule](breaking.md) is driven on a real server, with an old and a new generated package: each party does what it does in a rolling deploy,
and a test looks from outside at results, errors, the state of jobs and refused starts. The rule must name exactly the parties that break; of what is
`safe`, nothing fails, nothing is lost, and no attempt is used. `make test` drives a part of it, `make faults` all of it, in both directions of the
deploy. `make generate` writes this page from the tests.

## Schemas

Every example of every rule about schemas passes through each row of its surface: the values that show a break, or else values that the
writer's model takes. The last rows of a surface break for no change.

| surface | values | who breaks | grade | what the test does |
|---|---|---|---|---|
"""


def proof_page() -> str:
    """Return the text of the page."""
    return _INTRODUCTION + "\n".join([*_write_schemas(), "", *_write_contract()]) + "\n"


def _write_schemas() -> Iterator[str]:
    for prefix, ways in WAYS.items():
        kind = SURFACES[prefix]
        for (direction, column), exchanges in ways.items():
            hit = kind.forward if direction is Direction.FORWARD else kind.backward
            for exchange in exchanges:
                yield _write_row(
                    f"`{prefix}`", direction, f"`{column}`", _write_grade(hit), _describe(exchange)
                )
        for direction, exchange in SPARED.get(prefix, ()):
            yield _write_row(f"`{prefix}`", direction, "-", "-", _describe(exchange))


def _write_grade(hit: Hit) -> str:
    return f"{hit.grade}, while both versions run" if hit.only_during_deploy else str(hit.grade)


def _write_contract() -> Iterator[str]:
    for surface, rules in groupby(CONTRACT_RULES.values(), key=lambda rule: rule.surface):
        yield f"## {surface}"
        yield ""
        yield "| rule | grade | who breaks | what the test does |"
        yield "|---|---|---|---|"
        for rule in rules:
            who = " ".join(f"`{column}`" for column in rule.columns) or "-"
            yield _write_row(f"`{rule.id}`", rule.grade, who, _describe_rule(rule.id))
        yield ""


def _describe_rule(rule: str) -> str:
    if rule in NOT_DRIVEN:
        return f"Not driven: {NOT_DRIVEN[rule]}."
    cases = [case for case in CASES if case.rule == rule]
    unseen = [f"`{column}`: {reason}" for case in cases for column, reason in case.unseen.items()]
    names = [case.name for case in cases if case.name]
    what = list(dict.fromkeys(_describe(case.scenario) for case in cases))
    more = [f"Also: {', '.join(names)}."] if names else []
    return " ".join([*what, *more, *([f"Not seen: {'; '.join(unseen)}."] if unseen else [])])


def _describe(function: object) -> str:
    text = inspect.getdoc(function)
    assert text is not None
    return text


def _write_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PROOF_PAGE.write_text(proof_page(), encoding="utf-8")
