"""`--format github`: an annotation for each finding, at its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trellis_codegen.breaking.rules.grades import Grade
from trellis_codegen.breaking.schemas.describing import show_witness
from trellis_codegen.cli.comparing.report import Comparison, Located, get_problem
from trellis_codegen.cli.formats.github import locate, render_command

__all__ = ["annotate_comparison"]

_COMMANDS: Final = {Grade.BREAK: "error", Grade.RISKY: "warning", Grade.SAFE: "notice"}


def annotate_comparison(comparison: Comparison) -> Iterator[str]:
    """Yield a command for each finding that is not ignored."""
    for located in comparison.findings:
        if located.finding.ignored is None:
            yield _annotate(located, comparison)


def _annotate(located: Located, comparison: Comparison) -> str:
    finding = located.finding
    findings, problem = get_problem(located)
    # What is gone has no line in the file of the pull request.
    properties = locate(findings, problem) if not located.is_old else {"file": comparison.new.file}
    properties["file"] = comparison.new.file
    properties["title"] = finding.rule
    lines = [f"{finding.surface}: {finding.message}"]
    lines += [
        f"for example {show_witness(value, finding.path)} ({direction})"
        for direction, value in finding.witnesses
    ]
    lines += located.remedies
    return render_command(_COMMANDS[finding.grade], properties, "\n".join(lines))
