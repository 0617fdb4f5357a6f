"""One run of the command, as the user requested it."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import NamedTuple

from trellis_codegen.cli.targets import Choices

__all__ = ["Format", "Mode", "Request"]


class Format(StrEnum):
    """How results and problems are printed."""

    TEXT = "text"
    """For people: problems on stderr, results on stdout."""
    JSON = "json"
    """One document on stdout."""
    GITHUB = "github"
    """Workflow commands on stdout, which GitHub Actions shows as annotations."""
    SARIF = "sarif"
    """One SARIF 2.1.0 log on stdout, for code scanning."""


class Mode(Enum):
    """What to do with a package that differs from what is on disk."""

    WRITE = auto()
    CHECK = auto()
    """Print the difference; the run fails if there is one."""
    PREVIEW = auto()
    """Name the files that would be written or deleted."""


class Request(NamedTuple):
    """One run of `trellis-gen facade`."""

    choices: Choices
    mode: Mode = Mode.WRITE
    format: Format = Format.TEXT
    quiet: bool = False
    """Print errors and results only."""
