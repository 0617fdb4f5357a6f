"""`--format sarif`: a SARIF 2.1.0 log with a rule for each rule that was met."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from trellis_codegen.breaking.explaining import explain_rule, summarize_rule
from trellis_codegen.breaking.rules.grades import Grade
from trellis_codegen.breaking.schemas.describing import show_witness
from trellis_codegen.cli.comparing.report import Comparison, Located, get_problem
from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.formats.sarif import render_findings, render_log, render_place

__all__ = ["render_sarif"]

Object: TypeAlias = dict[str, object]

_LEVELS: Final = {Grade.BREAK: "error", Grade.RISKY: "warning", Grade.SAFE: "note"}


def render_sarif(
    comparisons: Sequence[Comparison], refusals: Sequence[str], invalid: Sequence[Findings]
) -> str:
    """Return the log. `invalid` has the problems of the contracts that were compared with nothing."""
    results: list[Object] = [
        _render_finding(located, comparison) for comparison in comparisons for located in comparison.findings
    ]
    met = dict.fromkeys(located.finding.rule for each in comparisons for located in each.findings)
    rules: list[Object] = [_render_rule(rule) for rule in met]
    notes: list[str] = []
    if invalid:
        manifest_rules, problems, notes = render_findings(invalid)
        rules += manifest_rules
        results += problems
    return render_log(rules, results, notes=notes, refusals=refusals)


def _render_rule(rule: str) -> Object:
    return {
        "id": rule,
        "shortDescription": {"text": summarize_rule(rule) or rule},
        "help": {"text": explain_rule(rule) or rule},
    }


def _render_finding(located: Located, comparison: Comparison) -> Object:
    finding = located.finding
    findings, problem = get_problem(located)
    if located.is_old:
        problem = replace(problem, line=None, column=None)
    text = [f"{finding.surface}: {finding.message}."]
    text += [
        f"For example {show_witness(value, finding.path)} ({direction})."
        for direction, value in finding.witnesses
    ]
    identity = "\n".join([finding.rule, finding.surface, finding.path or ""])
    result: Object = {
        "ruleId": finding.rule,
        "level": _LEVELS[finding.grade],
        "message": {"text": " ".join([*text, *located.remedies])},
        "locations": [render_place(findings._replace(file=comparison.new.file), problem)],
        "partialFingerprints": {"change/v1": hashlib.sha256(identity.encode()).hexdigest()},
    }
    if finding.ignored is not None:
        result["suppressions"] = [{"kind": "external", "justification": finding.ignored.reason}]
    return result
