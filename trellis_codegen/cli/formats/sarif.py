"""`--format sarif`: a SARIF 2.1.0 log, for GitHub code scanning and for editors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias
from urllib.parse import quote

from trellis_codegen import __version__
from trellis_codegen.cli.excerpts import measure_token
from trellis_codegen.cli.findings import Findings, PackageState, RunResult
from trellis_codegen.cli.formats.plain import describe_unchecked
from trellis_codegen.contract.rule_texts import RULE_TEXTS
from trellis_codegen.problems import Problem, Severity, json_pointer

__all__ = ["render_findings", "render_log", "render_place", "render_sarif"]

Object: TypeAlias = dict[str, object]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_DRIFT = "drift"
_DRIFT_TEXT = "A generated file differs from what the contract generates."


def render_sarif(result: RunResult) -> str:
    """Return the log."""
    rules, results, notes = render_findings(result.findings)
    results += [entry for state in result.packages if state.is_drift for entry in _render_drift(state)]
    rules.append({"id": _DRIFT, "shortDescription": {"text": _DRIFT_TEXT}})
    return render_log(rules, results, notes=notes, refusals=result.refusals)


def render_findings(findings: Sequence[Findings]) -> tuple[list[Object], list[Object], list[str]]:
    """Return the rules of manifests, a result for each problem, and what was not checked."""
    rules: list[Object] = [
        {"id": rule, "shortDescription": {"text": text.meaning}, "help": {"text": text.remedy}}
        for rule, text in RULE_TEXTS.items()
    ]
    results = [_render_problem(each, problem) for each in findings for problem in each.problems]
    return rules, results, [describe_unchecked(each) for each in findings if each.unchecked]


def render_log(
    rules: list[Object], results: list[Object], *, notes: Sequence[str], refusals: Sequence[str]
) -> str:
    """Return a log of one run. `notes` are what else it has to say, `refusals` why it could not do its work.

    Neither is a result: a reader such as GitHub's refuses a log with a result that has no location.
    """
    driver: Object = {"name": "trellis-gen", "semanticVersion": __version__, "rules": rules}
    run: Object = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    said = [*(("note", note) for note in notes), *(("error", refusal) for refusal in refusals)]
    if said:
        notifications = [{"level": level, "message": {"text": text}} for level, text in said]
        run["invocations"] = [
            {"executionSuccessful": not refusals, "toolExecutionNotifications": notifications}
        ]
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _render_problem(findings: Findings, problem: Problem) -> Object:
    is_error = problem.severity is Severity.ERROR
    message = f"{problem.what}. Hint: {problem.hint}" if problem.hint else problem.what
    location = render_place(findings, problem)
    return {
        **_render_result(problem.rule, "error" if is_error else "warning", message),
        "locations": [location],
    }


def render_place(findings: Findings, problem: Problem) -> Object:
    """Return the location of a problem: its file, its line, its pointer."""
    location = _render_location(findings.file)
    if problem.line is not None and problem.column is not None:
        end = problem.column + measure_token(findings.text, problem.line, problem.column)
        region = {"startLine": problem.line, "startColumn": problem.column, "endColumn": end}
        location["physicalLocation"] = {**_render_artifact(findings.file), "region": region}
    pointer = json_pointer(problem.pointer)
    if pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": pointer, "kind": "member"}]
    return location


def _render_drift(state: PackageState) -> list[Object]:
    return [
        {
            **_render_result(_DRIFT, "error", f"{change.name} is {change.change}; run trellis-gen facade"),
            "locations": [_render_location(f"{state.folder}/{change.name}")],
        }
        for change in state.changes
    ]


def _render_result(rule: str, level: str, message: str) -> Object:
    return {"ruleId": rule, "level": level, "message": {"text": message}}


def _render_location(file: str) -> Object:
    return {"physicalLocation": _render_artifact(file)}


def _render_artifact(file: str) -> Object:
    return {"artifactLocation": {"uri": quote(file, encoding="utf-8", errors="surrogateescape")}}
