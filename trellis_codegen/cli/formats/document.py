"""`--format json`: everything that was found, in one document whose shape has a version."""

from __future__ import annotations

import json

from trellis_codegen.cli.excerpts import token_length
from trellis_codegen.cli.findings import FileChange, Findings, PackageState, Said
from trellis_codegen.problems import Problem, json_pointer, place

__all__ = ["SHAPE_VERSION", "json_document"]

SHAPE_VERSION = 1
"""Members may be added without a new number; none is removed or changes its meaning."""


def json_document(said: Said) -> str:
    """Return the document."""
    problems = [_problem(each, problem) for each in said.findings for problem in each.problems]
    document = {
        "version": SHAPE_VERSION,
        "problems": problems,
        "refusals": said.refusals,
        "packages": [_package(each) for each in said.packages],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _problem(findings: Findings, problem: Problem) -> dict[str, object]:
    end = None
    if problem.line is not None and problem.column is not None:
        end = problem.column + token_length(findings.text, problem.line, problem.column)
    return {
        "file": findings.file,
        "line": problem.line,
        "column": problem.column,
        "endColumn": end,
        "pointer": json_pointer(problem.pointer),
        "place": place(problem.pointer),
        "severity": str(problem.severity),
        "message": problem.what,
        "hint": problem.hint,
    }


def _package(state: PackageState) -> dict[str, object]:
    return {
        "package": state.package,
        "folder": state.folder,
        "manifest": state.manifest,
        "fresh": not state.changes,
        "written": state.written,
        "changes": [_change(each) for each in state.changes],
    }


def _change(change: FileChange) -> dict[str, object]:
    return {"file": change.name, "change": change.change, "edited": change.edited}
