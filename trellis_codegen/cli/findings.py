"""The findings of a run as values: every format prints these and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from trellis_codegen.problems import Pointer, Problem, Severity

__all__ = ["FileChange", "Findings", "PackageState", "ProjectState", "RunResult"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """The problems of one document."""

    file: str
    """The document, by the name that the user gave it."""
    text: str = ""
    """Its text, for excerpts. Bytes that are not UTF-8 are replacement characters."""
    problems: tuple[Problem, ...] = ()
    """Located and sorted."""
    unchecked: tuple[Pointer, ...] = ()
    """The parts that the rules did not check, because they have errors of form; the root, if that is all."""

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
    """Whether the file was changed by hand or by a formatter since it was generated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageState:
    """The result of a run for one package."""

    package: str
    folder: str
    manifest: str
    changes: tuple[FileChange, ...] = ()
    written: bool = False
    """Whether the changes were made, or would be."""
    is_drift: bool = False
    """Whether a change is a failure: the run is a `--check`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectState:
    """The result of `trellis-gen init`."""

    name: str
    template: str
    folder: str
    files: tuple[str, ...]
    """Every file, relative to the folder."""
    written: bool
    """Whether they were written, or would be."""
    commands: tuple[str, ...]
    """What to run next, in the current folder."""


@dataclass(slots=True)
class RunResult:
    """Everything that one run has reported so far."""

    findings: list[Findings] = field(default_factory=list[Findings])
    refusals: list[str] = field(default_factory=list[str])
    packages: list[PackageState] = field(default_factory=list[PackageState])
    project: ProjectState | None = None
