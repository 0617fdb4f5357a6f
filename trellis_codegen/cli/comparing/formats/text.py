"""A comparison for people: what changed, where, who breaks, a value that shows it, and how to do it in two steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from trellis_codegen.breaking.rules.grades import Direction, Grade
from trellis_codegen.breaking.schemas.describing import show_witness
from trellis_codegen.cli.comparing.report import Comparison, Located, count_findings, get_problem
from trellis_codegen.cli.excerpts import escape_unprintable
from trellis_codegen.cli.formats.plain import format_excerpt, paint

__all__ = ["format_comparison", "format_summary"]

_DIRECTIONS: Final = {
    Direction.FORWARD: "the old contract writes it, the new one refuses it",
    Direction.BACKWARD: "the new contract writes it, the old one refuses it",
}


def format_comparison(comparison: Comparison, *, colour: bool) -> Iterator[str]:
    """Yield the lines of all findings, a blank line after each."""
    for located in comparison.findings:
        yield from _format_finding(located, colour=colour)
        yield ""


def _format_finding(located: Located, *, colour: bool) -> Iterator[str]:
    finding = located.finding
    findings, problem = get_problem(located)
    grade = (
        str(finding.grade)
        if finding.grade is Grade.SAFE
        else paint(finding.grade, problem.severity, colour=colour)
    )
    marks = ("" if finding.decided else " (not decided)") + (" (ignored)" if finding.ignored else "")
    where = escape_unprintable(f"{findings.file}:{located.line}:{located.column}")
    yield f"{grade}{marks} {finding.rule} {where}"
    yield f"  {escape_unprintable(f'{finding.surface}: {finding.message}')}"
    yield from format_excerpt(findings, problem, colour=colour)
    for direction, value in finding.witnesses:
        yield f"    for example {escape_unprintable(show_witness(value, finding.path))}: {_DIRECTIONS[direction]}"
    if finding.ignored:
        yield f"    ignored until {finding.ignored.until}: {escape_unprintable(finding.ignored.reason)}"
    elif finding.remedy:
        yield "    in two steps:"
        yield from (f"      {line}" for line in located.remedies)


def format_summary(comparisons: Sequence[Comparison]) -> str:
    """Return the counts in one line."""
    grades, columns = count_findings(comparisons)
    counts = ", ".join(f"{count} {name}" for name, count in grades.items() if count)
    who = ", ".join(f"{column} {count}" for column, count in columns.items())
    if not counts:
        is_changed = any(each.old.digest != each.new.digest for each in comparisons)
        return "nothing breaks; --show safe lists what changed" if is_changed else "nothing changed"
    return f"{counts}{f'; breaks: {who}' if who else ''}"
