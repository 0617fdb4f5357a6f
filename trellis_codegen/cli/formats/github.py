"""`--format github`: workflow commands, which GitHub Actions shows as annotations of the lines."""

from __future__ import annotations

from trellis_codegen.cli.excerpts import measure_token
from trellis_codegen.cli.findings import Findings, PackageState
from trellis_codegen.problems import Problem, place

__all__ = ["annotate_drift", "annotate_problem", "annotate_refusal", "locate", "render_command"]

_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_MESSAGE, ":": "%3A", ",": "%2C"}


def annotate_problem(findings: Findings, problem: Problem) -> str:
    """Return the command for a problem."""
    properties = locate(findings, problem)
    properties["title"] = f"{problem.rule}: {place(problem.pointer) or 'the contract'}"
    hint = f"\nhint: {problem.hint}" if problem.hint else ""
    return render_command(str(problem.severity), properties, f"{problem.what}{hint}")


def locate(findings: Findings, problem: Problem) -> dict[str, str]:
    """Return where a problem is, as properties of a command."""
    properties = {"file": findings.file}
    if problem.line is not None and problem.column is not None:
        end = problem.column + measure_token(findings.text, problem.line, problem.column)
        position = {"line": problem.line, "endLine": problem.line, "col": problem.column, "endColumn": end}
        properties |= {name: str(value) for name, value in position.items()}
    return properties


def annotate_drift(state: PackageState) -> list[str]:
    """Return a command for each file that differs from what would be generated."""
    words = {
        "missing": "is missing",
        "changed": "differs from what the contract generates",
        "stale": "is no longer generated",
    }
    return [
        render_command(
            "error",
            {"file": f"{state.folder}/{change.name}", "title": state.package},
            f"{change.name} {words[change.change]}; run trellis-gen facade and commit the result",
        )
        for change in state.changes
    ]


def annotate_refusal(message: str) -> str:
    """Return the command for a refusal, which has no position in a file."""
    return render_command("error", {"title": "trellis-gen"}, message)


def render_command(name: str, properties: dict[str, str], message: str) -> str:
    """Return a workflow command."""
    escaped = ",".join(f"{key}={_escape(value, _PROPERTY)}" for key, value in properties.items())
    return f"::{name} {escaped}::{_escape(message, _MESSAGE)}"


def _escape(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(character, character) for character in text)
