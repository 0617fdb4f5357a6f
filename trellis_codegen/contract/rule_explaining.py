"""What a rule of `trellis-gen validate` means, in full: for `explain` and the reference."""

from __future__ import annotations

import json
from collections.abc import Iterator

from trellis_codegen.contract.rule_examples import RULE_EXAMPLES, RuleExample
from trellis_codegen.contract.rule_texts import RULE_TEXTS
from trellis_codegen.rule_ids import Rule

__all__ = ["describe_severity", "explain_manifest_rule", "show_example"]

_LONGEST = 300


def explain_manifest_rule(rule: str) -> str | None:
    """Return what a rule means, an example and the remedy; None if there is no such rule."""
    return "\n".join(_explain(Rule(rule))) if rule in [*Rule] else None


def _explain(rule: Rule) -> Iterator[str]:
    text = RULE_TEXTS[rule]
    yield f"{rule}: {describe_severity(rule)}"
    yield f"  {text.meaning}"
    yield f"  remedy:  {text.remedy}"
    if shown := show_example(RULE_EXAMPLES.get(rule)):
        yield f"  example: {shown}"


def describe_severity(rule: Rule) -> str:
    """Return what a problem of a rule does to a run."""
    if RULE_TEXTS[rule].is_warning:
        return "warning, which can be ignored"
    return "error, nothing is generated"


def show_example(example: RuleExample | None) -> str | None:
    """Return the part of a contract that a rule reports, in one line; None if it is too long to be read."""
    if example is None:
        return None
    if example.file is not None:
        text = ascii(example.file.decode("latin-1"))[1:-1].replace("\\\\", "\\")
    elif example.names:
        text = "".join(f'names = {{"{place}" = "{name}"}}' for place, name in example.names.items())
    else:
        text = json.dumps(example.sections, ensure_ascii=False)
    return text if len(text) <= _LONGEST else None
