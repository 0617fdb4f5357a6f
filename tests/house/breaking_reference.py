"""Writes docs/reference/breaking.md from the rules: `python -m tests.house.breaking_reference`, part of `make generate`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from tests.house.sources import ROOT
from trellis_codegen.breaking.explaining import describe_hit, describe_message, show_example
from trellis_codegen.breaking.rules.contract_examples import CONTRACT_EXAMPLES
from trellis_codegen.breaking.rules.contract_rules import CONTRACT_RULES
from trellis_codegen.breaking.rules.grades import SURFACES, Column, describe_columns
from trellis_codegen.breaking.rules.rule import REMEDIES, Remedy
from trellis_codegen.breaking.rules.schema_examples import SCHEMA_EXAMPLES
from trellis_codegen.breaking.rules.schema_rules import SCHEMA_RULES

__all__ = ["PAGE", "reference_page"]

PAGE: Final[Path] = ROOT / "docs/reference/breaking.md"

_INTRODUCTION: Final = """\
# Changes that break: the rules

[`trellis-gen breaking OLD NEW`](../guides/ci.md#changes-of-contracts) compares two versions of a contract. A change breaks when a value that one version may write
is refused by the model of the other. `make generate` writes this page from the rules; `trellis-gen breaking --explain RULE` prints one of them.
[How they are proved](breaking-proof.md) is a page of its own.

## Grades

| grade | meaning |
|---|---|
| `break` | whatever the order of deploys, something that exists today fails or is lost: a stored value, a queued job, a caller or a listener |
| `risky` | nothing fails if the stated order is kept, or it depends on what the contract does not say: members that it does not declare, other languages, meaning |
| `safe` | neither; printed with `--show safe`, with the reason |

`--deploy stop` says that all old instances stop before the first new one starts. What needs both versions to run is safe then.

A comparison that is not decided counts as if the value existed, and says so (`NOT_DECIDED`, `"decided": false`). The reasons are
`PATTERN` (patterns are compared as text only), `FORMAT_AND_TEXT` (an enforced format against a pattern or a tight length), `UNION` (no single member
of the other union takes all of it), `NAMES` (patterns of names), `TOO_LARGE`, and `NO_WITNESS` (no value was found that shows it).

## What a writer may send

What its own generated model accepts, as that model writes it, without members that the schema does not declare. So a new
optional member of an open object breaks nothing. What undeclared members would break is `risky`: `UNDECLARED_MEMBER`, `OBJECT_CLOSED`.
`additionalProperties: true` means the same as an object without it.

## Samples

`SAMPLE_REFUSED` is the one rule that is not about the contracts alone: with `--samples DIR`, a [sample of real payloads](../guides/ci.md#samples-of-real-payloads)
that the old contract reads and the new one refuses is a `break`, whatever the comparison says.

"""


def reference_page() -> str:
    """Return the text of the page."""
    return "\n".join([*_write_lines()]) + "\n"


def _write_lines() -> Iterator[str]:
    yield _INTRODUCTION + "## The columns"
    yield ""
    yield "| column | who |"
    yield "|---|---|"
    yield from (f"| `{column}` | {describe_columns([column])} |" for column in Column)
    yield ""
    yield "## Schemas"
    yield ""
    yield "The id of a rule about schemas is the prefix of the surface, `_`, and the name below: `JOB_PAYLOAD_FIELD_REQUIRED_ADDED`."
    yield ""
    yield "| prefix | values | old values, new model | new values, old model |"
    yield "|---|---|---|---|"
    for kind in SURFACES.values():
        yield f"| `{kind.prefix}` | {kind.what} | {describe_hit(kind.forward)} | {describe_hit(kind.backward)} |"
    yield ""
    yield (
        "A narrower schema (N) refuses old values, a wider one (W) writes new values that old models refuse, B is both; M is "
        "`risky`, and with - no value fails. The class is computed for each pair: the table says what it usually is."
    )
    yield ""
    yield "| rule | what changed | class | what it says | remedy | for example: old → new |"
    yield "|---|---|---|---|---|---|"
    for rule in SCHEMA_RULES.values():
        old, new = (_write_code(schema) for schema in SCHEMA_EXAMPLES[rule.id].fails)
        yield _write_row(
            f"`{rule.id}`", rule.what, rule.kind, describe_message(rule), rule.remedy, f"{old} → {new}"
        )
    for surface, rules in groupby(CONTRACT_RULES.values(), key=lambda rule: rule.surface):
        yield ""
        yield f"## {surface}"
        yield ""
        yield "| rule | what changed | grade | who breaks | what it says | remedy | for example: old → new |"
        yield "|---|---|---|---|---|---|---|"
        for contract_rule in rules:
            old, new = (_write_code(fragment) for fragment in CONTRACT_EXAMPLES[contract_rule.id].fails)
            who = describe_columns(contract_rule.columns) if contract_rule.columns else "-"
            yield _write_row(
                f"`{contract_rule.id}`",
                contract_rule.what,
                contract_rule.grade,
                who,
                describe_message(contract_rule),
                contract_rule.remedy,
                f"{old} → {new}",
            )
    yield ""
    yield "## Remedies"
    yield ""
    yield "| remedy | first | then |"
    yield "|---|---|---|"
    yield from (_write_row(remedy, *steps) for remedy, steps in REMEDIES.items() if steps)
    yield ""
    yield (
        "[Changing a contract](../guides/changing-a-contract.md) shows the steps with a small contract. Where old payloads of jobs fail "
        "with the new model (a `break` of `JOB_PAYLOAD`), an [upcaster](../guides/changing-a-contract.md#rename) in the new version replaces "
        "both steps: it reads the jobs that wait, those that old producers create, and those that are sent again. The finding names the "
        "digest of the old contract. Old workers give new jobs that they cannot read back, without an attempt, until a new worker takes them."
    )


def _write_row(*cells: str) -> str:
    shown = ["-" if cell == Remedy.NOTHING else cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(shown)} |"


def _write_code(value: JsonValue) -> str:
    return f"`{show_example(value)}`"


if __name__ == "__main__":
    PAGE.write_text(reference_page(), encoding="utf-8")
