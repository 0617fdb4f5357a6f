"""Writes docs/reference/rules.md from the rules: `python -m tests.house.rule_reference`, part of `make generate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.house.sources import ROOT
from trellis_codegen.contract.rule_examples import RULE_EXAMPLES
from trellis_codegen.contract.rule_explaining import describe_severity, show_example
from trellis_codegen.contract.rule_texts import RULE_GROUPS, RuleText
from trellis_codegen.rule_ids import Rule

__all__ = ["PAGE", "reference_page"]

PAGE: Final[Path] = ROOT / "docs/reference/rules.md"

_INTRODUCTION: Final = """\
# Rules of manifests

`trellis-gen validate` and `trellis-gen facade` check these rules. Each has an id that stays the same, in every format of the output:

```text
contracts/orders_service.manifest.json:665:19: error[unknown-schema]: jobs/reserve-inventory/payload: no schema named "ReserveInventoryPaylaod"
```

`trellis-gen explain unknown-schema` prints one of them. [The manifest](manifest.md) has all members. `make generate` writes this page from the rules, and a test
drives each example.

## Ignoring a warning

An error cannot be ignored: nothing is generated. A warning that you accept is ignored with a reason:

```toml
[[tool.trellis-gen.validate.ignore]]
rule = "unenforced-keyword"
where = "/schemas/Order"
reason = "hosts are checked by the handler"
until = "2027-01-31"
```

| key | meaning |
|---|---|
| `rule` | the id of one rule |
| `where` | a JSON pointer, as messages show it: the rule is ignored there and inside. After the id of a contract, `orders-service@v1/schemas/Order`, it counts for that contract alone. Without it, the rule is ignored everywhere |
| `reason` | why, in at least 10 characters |
| `until` | the last day; the warning is back after it. Without it, there is no last day |

A run says how many warnings it left out. `trellis-gen validate` of all contracts of `[tool.trellis-gen]` reports the entries that ignore nothing, as `unused-ignore`.
With `strict`, an unknown field is an error, and is not ignored.
"""


def reference_page() -> str:
    """Return the text of the page."""
    return "\n".join([*_write_lines()])


def _write_lines() -> Iterator[str]:
    yield _INTRODUCTION
    for title, rules in RULE_GROUPS.items():
        yield f"## {title}"
        yield ""
        for rule, text in rules.items():
            yield from _write_rule(rule, text)


def _write_rule(rule: Rule, text: RuleText) -> Iterator[str]:
    yield f"### {rule}"
    yield ""
    severity = describe_severity(rule)
    yield f"{severity[:1].upper()}{severity[1:]}. {text.meaning}"
    yield ""
    yield f"Remedy: {text.remedy}"
    yield ""
    if example := show_example(RULE_EXAMPLES.get(rule)):
        yield "```json" if example.startswith("{") else "```text"
        yield example
        yield "```"
        yield ""


if __name__ == "__main__":
    PAGE.write_text(reference_page(), encoding="utf-8")
