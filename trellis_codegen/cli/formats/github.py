"""`--format github`: workflow commands, which GitHub Actions shows beside the lines they are about."""

from __future__ import annotations

from trellis_codegen.cli.excerpts import token_length
from trellis_codegen.cli.findings import Findings, PackageState
from trellis_codegen.problems import Problem, place

__all__ = ["drift_annotations", "problem_annotation", "refusal_annotation"]

_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_MESSAGE, ":": "%3A", ",": "%2C"}


def problem_annotation(findings: Findings, problem: Problem) -> str:
    """Return the command for a problem."""
    properties = {"file": findings.file}
    if problem.line is not None and problem.column is not None:
        end = problem.column + token_length(findings.text, problem.line, problem.column)
        position = {"line": problem.line, "endLine": problem.line, "col": problem.column, "endColumn": end}
        properties |= {name: str(value) for name, value in position.items()}
    properties["title"] = place(problem.pointer) or "the contract"
    hint = f"\nhint: {problem.hint}" if problem.hint else ""
    return _command(str(problem.severity), properties, f"{problem.what}{hint}")


def drift_annotations(state: PackageState) -> list[str]:
    """Return a command for each file that is not what would be generated."""
    words = {"missing": "is missing", "changed": "is not what the contract generates", "stale": "is stale"}
    return [
        _command(
            "error",
            {"file": f"{state.folder}/{each.name}", "title": state.package},
            f"{each.name} {words[each.change]}; run trellis-gen facade and commit the result",
        )
        for each in state.changes
    ]


def refusal_annotation(message: str) -> str:
    """Return the command for a refusal, which has no place in a file."""
    return _command("error", {"title": "trellis-gen"}, message)


def _command(name: str, properties: dict[str, str], message: str) -> str:
    escaped = ",".join(f"{key}={_escaped(value, _PROPERTY)}" for key, value in properties.items())
    return f"::{name} {escaped}::{_escaped(message, _MESSAGE)}"


def _escaped(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(character, character) for character in text)
