"""`--format sarif`: a SARIF 2.1.0 log, for GitHub code scanning and for editors."""

from __future__ import annotations

import importlib.metadata
import json
from typing import TypeAlias
from urllib.parse import quote

from trellis_codegen.cli.excerpts import token_length
from trellis_codegen.cli.findings import Findings, PackageState, Said
from trellis_codegen.problems import Problem, Severity, json_pointer

__all__ = ["sarif_log"]

Object: TypeAlias = dict[str, object]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_INVALID, _QUESTIONABLE, _DRIFT, _REFUSED = "contract-error", "contract-warning", "drift", "refused"
_RULES = {
    _INVALID: "The contract has an error; nothing is generated.",
    _QUESTIONABLE: "Something of the contract is not generated, or not as meant.",
    _DRIFT: "A generated file is not what the contract generates.",
    _REFUSED: "The run was refused.",
}


def sarif_log(said: Said) -> str:
    """Return the log."""
    results = [_problem(each, problem) for each in said.findings for problem in each.problems]
    results += [result for state in said.packages if state.is_drift for result in _drift(state)]
    driver: Object = {
        "name": "trellis-gen",
        "semanticVersion": importlib.metadata.version("trellis-codegen"),
        "rules": [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.items()],
    }
    run: Object = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [*results, *(_result(_REFUSED, "error", each) for each in said.refusals)],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _problem(findings: Findings, problem: Problem) -> Object:
    is_error = problem.severity is Severity.ERROR
    message = f"{problem.what}. Hint: {problem.hint}" if problem.hint else problem.what
    location = _location(findings.file)
    if problem.line is not None and problem.column is not None:
        end = problem.column + token_length(findings.text, problem.line, problem.column)
        region = {"startLine": problem.line, "startColumn": problem.column, "endColumn": end}
        location["physicalLocation"] = {**_artifact(findings.file), "region": region}
    pointer = json_pointer(problem.pointer)
    if pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": pointer, "kind": "member"}]
    rule = _INVALID if is_error else _QUESTIONABLE
    return {**_result(rule, "error" if is_error else "warning", message), "locations": [location]}


def _drift(state: PackageState) -> list[Object]:
    return [
        {
            **_result(_DRIFT, "error", f"{each.name} is {each.change}; run trellis-gen facade"),
            "locations": [_location(f"{state.folder}/{each.name}")],
        }
        for each in state.changes
    ]


def _result(rule: str, level: str, message: str) -> Object:
    return {"ruleId": rule, "level": level, "message": {"text": message}}


def _location(file: str) -> Object:
    return {"physicalLocation": _artifact(file)}


def _artifact(file: str) -> Object:
    return {"artifactLocation": {"uri": quote(file, encoding="utf-8", errors="surrogateescape")}}
