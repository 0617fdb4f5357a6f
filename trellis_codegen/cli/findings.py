"""What a run has to say, as values: every format prints these and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from trellis_codegen.problems import Problem, Severity

__all__ = ["FileChange", "Findings", "Format", "PackageState", "Said"]


class Format(StrEnum):
    """How results and problems are printed."""

    TEXT = "text"
    """For people: problems on stderr, results on stdout."""
    JSON = "json"
    """One document on stdout."""
    GITHUB = "github"
    """Workflow commands on stdout: GitHub Actions makes them annotations."""
    SARIF = "sarif"
    """One SARIF 2.1.0 log on stdout, for code scanning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What is wrong with one document."""

    file: str
    """The document, as its user named it."""
    text: str = ""
    """Its text, for excerpts; bytes that are no text as replacement characters."""
    problems: tuple[Problem, ...] = ()
    """Located and sorted."""

    @property
    def errors(self) -> int:
        """How many of the problems are errors."""
        return sum(problem.severity is Severity.ERROR for problem in self.problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileChange:
    """One file of a package that differs from what would be generated."""

    name: str
    change: str
    """`missing`, `changed` or `stale`."""
    edited: bool = False
    """Whether somebody changed it since it was generated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageState:
    """What a run found of one package, or did to it."""

    package: str
    folder: str
    manifest: str
    changes: tuple[FileChange, ...] = ()
    written: bool = False
    """Whether the changes were made; otherwise they would be."""
    is_drift: bool = False
    """Whether a change is a fault: `--check` was asked for."""


@dataclass(slots=True)
class Said:
    """Everything that one run has said so far."""

    findings: list[Findings] = field(default_factory=list[Findings])
    refusals: list[str] = field(default_factory=list[str])
    packages: list[PackageState] = field(default_factory=list[PackageState])
