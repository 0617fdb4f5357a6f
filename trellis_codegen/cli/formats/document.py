"""`--format json`: the whole result in one document, whose shape has a version."""

from __future__ import annotations

import json

from trellis_codegen.cli.excerpts import measure_token
from trellis_codegen.cli.findings import FileChange, Findings, PackageState, ProjectState, RunResult
from trellis_codegen.problems import Problem, json_pointer, place

__all__ = ["SHAPE_VERSION", "render_json"]

SHAPE_VERSION = 1
"""A new member needs no new number; a member that goes or changes its meaning does."""


def render_json(result: RunResult) -> str:
    """Return the document."""
    problems = [
        _render_problem(findings, problem) for findings in result.findings for problem in findings.problems
    ]
    document: dict[str, object] = {
        "version": SHAPE_VERSION,
        "problems": problems,
        "unchecked": [
            {"file": findings.file, "pointer": json_pointer(pointer), "place": place(pointer)}
            for findings in result.findings
            for pointer in findings.unchecked
        ],
        "refusals": result.refusals,
        "packages": [_render_package(state) for state in result.packages],
    }
    if result.project is not None:
        document["project"] = _render_project(result.project)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _render_problem(findings: Findings, problem: Problem) -> dict[str, object]:
    end = None
    if problem.line is not None and problem.column is not None:
        end = problem.column + measure_token(findings.text, problem.line, problem.column)
    return {
        "file": findings.file,
        "line": problem.line,
        "column": problem.column,
        "endColumn": end,
        "pointer": json_pointer(problem.pointer),
        "place": place(problem.pointer),
        "severity": str(problem.severity),
        "rule": problem.rule,
        "message": problem.what,
        "hint": problem.hint,
    }


def _render_package(state: PackageState) -> dict[str, object]:
    return {
        "package": state.package,
        "folder": state.folder,
        "manifest": state.manifest,
        "fresh": not state.changes,
        "written": state.written,
        "changes": [_render_change(change) for change in state.changes],
    }


def _render_project(state: ProjectState) -> dict[str, object]:
    return {
        "name": state.name,
        "template": state.template,
        "folder": state.folder,
        "files": [*state.files],
        "written": state.written,
        "commands": [*state.commands],
    }


def _render_change(change: FileChange) -> dict[str, object]:
    return {"file": change.name, "change": change.change, "edited": change.edited}
