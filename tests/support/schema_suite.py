"""The JSON-Schema test suite: its schemas as schemas of a contract, its values as payloads.

`make test` takes the suite from the source distribution of the `jsonschema` package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final, TypedDict

from pydantic import JsonValue

from tests.conformance.folders import CASES
from tests.support.generated import generated
from trellis_codegen.problems import Problem, ProblemsFound, Severity
from trellis_codegen.rule_ids import Rule

__all__ = ["DRAFTS", "Case", "Generated", "generate_cases", "read_cases"]

_INSTALLED: Final = Path(__file__).parents[2] / ".venv/schema-suite"
_SHARED: Final = CASES / "json-schema-test-suite"
_ROOT: Final = _INSTALLED if _INSTALLED.is_dir() else _SHARED
_PARTS: Final = ("", "/optional", "/optional/format")
DRAFTS: Final = {
    f"{name}{part}": _ROOT / f"{name}{part}"
    for name in ("draft4", "draft7", "draft2020-12")
    for part in _PARTS
    if (_ROOT / f"{name}{part}").is_dir()
}
"""The folders of the suite that are here, by a name for people."""


class Value(TypedDict):
    """A value, and whether the schema allows it."""

    description: str
    data: JsonValue
    valid: bool


class Case(TypedDict):
    """A schema and some values."""

    description: str
    schema: JsonValue
    tests: list[Value]


@dataclass(slots=True)
class Generated:
    """What became of the cases of one file."""

    package: ModuleType | None = None
    accepted: dict[str, Case] = field(default_factory=dict[str, Case])
    """Name of the schema → its case."""
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """The description of a case → why its schema is refused."""
    warned: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Name of the schema → its warnings."""


def read_cases(file: Path) -> list[Case]:
    """Return the cases of one file of the suite."""
    cases: list[Case] = json.loads(file.read_text(encoding="utf-8"))
    return cases


def generate_cases(cases: list[Case], folder: Path) -> Generated:
    """Generate one package with every schema that is not refused. Anything but a refusal is raised."""
    result = Generated(accepted={f"Case{index}": case for index, case in enumerate(cases)})
    while result.accepted:
        schemas: JsonValue = {name: case["schema"] for name, case in result.accepted.items()}
        name, case = next(iter(result.accepted.items()))
        document: JsonValue = {
            "format": "trellis.contract.v1", "id": "suite@v1", "displayName": "S", "description": "S", "kind": "service",
            "schemas": schemas, "jobs": {name: {"payload": {"schema": name}} for name in result.accepted},
        }  # fmt: skip
        try:
            result.package, remarks = generated(document, folder)
        except ProblemsFound as error:
            for name, what in _find_errors(error.problems).items():
                case = result.accepted.pop(name)
                result.refused[case["description"]] = what
            continue
        for problem in (each for each in remarks if each.rule != Rule.DOUBTFUL_SCHEMA):
            result.warned.setdefault(str(problem.pointer[1]), []).append(problem.what)
        break
    return result


def _find_errors(problems: tuple[Problem, ...]) -> dict[str, str]:
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    return {str(problem.pointer[1]): problem.what for problem in errors}
