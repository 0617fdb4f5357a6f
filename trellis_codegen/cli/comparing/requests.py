"""One run of `trellis-gen breaking`, as the user requested it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trellis_codegen.breaking.rules.grades import Column, Deploy

__all__ = ["ComparisonFormat", "ComparisonRequest", "FailOn", "Show"]


class ComparisonFormat(StrEnum):
    """How a comparison is printed."""

    TEXT = "text"
    """For people."""
    JSON = "json"
    """One document."""
    GITHUB = "github"
    """Workflow commands, which GitHub Actions shows as annotations."""
    SARIF = "sarif"
    """One SARIF 2.1.0 log, for code scanning."""
    JUNIT = "junit"
    """A case for each surface, for test reports."""


class FailOn(StrEnum):
    """From which grade on a change fails the run."""

    BREAK = "break"
    RISKY = "risky"
    NEVER = "never"


class Show(StrEnum):
    """What is printed in addition to what breaks or may break."""

    RISKY = "risky"
    """Nothing."""
    SAFE = "safe"
    """Changes that break nothing, with the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonRequest:
    """One run."""

    sources: tuple[str, ...] = ()
    """OLD and NEW, or one of them: see `sources`."""
    format: ComparisonFormat = ComparisonFormat.TEXT
    fail_on: FailOn = FailOn.BREAK
    deploy: Deploy = Deploy.ROLLING
    show: Show = Show.RISKY
    only: frozenset[Column] = frozenset()
    """The parties whose findings count; empty: all."""
    samples: Path | None = None
    """The folder of samples that the new contract must read."""
    prune_ignores: bool = False
    """Whether the ignores that match nothing are listed, in place of the findings."""
    quiet: bool = False
    """Print results and errors only."""
