"""`--format json`: the whole result in one document, whose shape has a version."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trellis_codegen.cli.excerpts import measure_token
from trellis_codegen.cli.findings import FileChange, Findings, PackageState, ProjectState, RunResult
from trellis_codegen.problems import Problem, json_pointer, place

__all__ = ["SHAPE_VERSION", "render_findings", "render_json"]

SHAPE_VERSION = 1
"""A new member needs no new number; a member that goes or changes its meaning does."""


def render_json(result: RunResult) -> str:
    """Return the document."""
    document: dict[str, object] = {
        "version": SHAPE_VERSION,
        **render_findings(result.findings),
        "refusals": result.refusals,
        "packages": [_render_package(state) for state in result.packages],
    }
    if result.project is not None:
        document["project"] = _render_project(result.project)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def render_findings(findings: Sequence[Findings]) -> dict[str, object]:
    """Return the members that say what is wrong with documents, and what of them was not checked."""
    return {
        "problems": [_render_problem(each, problem) for each in findings for problem in each.problems],
        "unchecked": [
            {"file": each.file, "pointer": json_pointer(pointer), "place": place(pointer)}
            for each in findings
            for pointer in each.unchecked
        ],
    }


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
