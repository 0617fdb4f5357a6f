"""Which contracts a command reads: those that are named, or else those of the project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trellis_codegen.cli.configuration import Configuration
from trellis_codegen.cli.reporter import Reporter

__all__ = ["choose_manifests"]

_NO_CONTRACT: Final = "no contract is named, and no pyproject.toml in this folder or above has a [[tool.trellis-gen.contracts]]; name MANIFEST"


def choose_manifests(
    named: Sequence[Path], found: Configuration | None, reporter: Reporter
) -> Sequence[Path]:
    """Return the contracts that are named, or else those of the project; none after a refusal was reported."""
    manifests = named or tuple(target.manifest for target in (found.targets if found else ()))
    if not manifests:
        reporter.report_refusal(_NO_CONTRACT)
    return manifests
