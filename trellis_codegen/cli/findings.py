"""The findings of a run as values: every format prints these and nothing else.

They are named tuples, as are the other values of a run with nothing to do: to create a dataclass takes four times as long.
"""

from __future__ import annotations

from typing import NamedTuple

from trellis_codegen.problems import Pointer, Problem, Severity

__all__ = ["FileChange", "Findings", "PackageState", "ProjectState", "RunResult"]


class Findings(NamedTuple):
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


class FileChange(NamedTuple):
    """One file of a package that differs from what would be generated."""

    name: str
    change: str
    """`missing`, `changed` or `stale`."""
    edited: bool = False
    """Whether the file was changed by hand or by a formatter since it was generated."""


class PackageState(NamedTuple):
    """The result of a run for one package."""

    package: str
    folder: str
    manifest: str
    changes: tuple[FileChange, ...] = ()
    written: bool = False
    """Whether the changes were made, or would be."""
    is_drift: bool = False
    """Whether a change is a failure: the run is a `--check`."""


class ProjectState(NamedTuple):
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


class RunResult:
    """Everything that one run has reported so far."""

    __slots__ = ("findings", "packages", "project", "refusals")

    def __init__(self) -> None:
        self.findings: list[Findings] = []
        self.refusals: list[str] = []
        self.packages: list[PackageState] = []
        self.project: ProjectState | None = None
