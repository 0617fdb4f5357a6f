"""`--format json`: the whole result in one document, whose shape has a version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, TypeAlias

from trellis_codegen.cli.comparing.report import Comparison, Located, Side, count_findings
from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.formats.document import render_findings
from trellis_codegen.problems import Pointer, json_pointer

__all__ = ["render_json"]

Object: TypeAlias = dict[str, object]

_SHAPE_VERSION: Final = 1
"""A new member needs no new number; a member that goes or changes its meaning does."""


def render_json(
    comparisons: Sequence[Comparison], refusals: Sequence[str], invalid: Sequence[Findings]
) -> str:
    """Return the document. `invalid` has the problems of the contracts that were compared with nothing."""
    summary, _ = count_findings(comparisons)
    document: Object = {
        "version": _SHAPE_VERSION,
        "comparisons": [_render_comparison(comparison) for comparison in comparisons],
        **render_findings(invalid),
        "refusals": [*refusals],
        "summary": summary,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _render_comparison(comparison: Comparison) -> Object:
    return {
        "old": _render_side(comparison.old),
        "new": _render_side(comparison.new),
        "findings": [_render_finding(located) for located in comparison.findings],
    }


def _render_side(side: Side) -> Object:
    return {"source": side.source, "file": side.file, "digest": side.digest}


def _render_finding(located: Located) -> Object:
    finding = located.finding
    result: Object = {
        "rule": finding.rule,
        "grade": str(finding.grade),
        "decided": finding.decided,
        "columns": [str(column) for column in finding.columns],
        "direction": str(finding.direction) if finding.direction else None,
        "surface": finding.surface,
        "pointer": _render_pointer(finding.pointer),
        "oldPointer": _render_pointer(finding.old_pointer),
        "path": finding.path,
        "line": located.line,
        "column": located.column,
        "isInOld": located.is_old,
        "message": finding.message,
        "witnesses": [
            {"direction": str(direction), "value": value} for direction, value in finding.witnesses
        ],
        "reason": finding.reason,
        "remedy": [*finding.remedy],
        "hasUpcast": finding.has_upcast,
        "ignored": None,
    }
    if finding.ignored is not None:
        result["ignored"] = {"reason": finding.ignored.reason, "until": finding.ignored.until}
    return result


def _render_pointer(pointer: Pointer | None) -> str | None:
    return None if pointer is None else json_pointer(pointer)
