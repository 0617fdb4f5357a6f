"""Which contracts a command reads: those that are named, or else those of the project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trellis_codegen.cli.configuration import Configuration
from trellis_codegen.cli.reporter import Reporter

__all__ = ["choose_manifests", "explain_no_contract"]


def choose_manifests(
    named: Sequence[Path], found: Configuration | None, reporter: Reporter
) -> Sequence[Path]:
    """Return the contracts that are named, or else those of the project; none after a refusal was reported."""
    manifests = named or tuple(target.manifest for target in (found.targets if found else ()))
    if not manifests:
        reporter.report_refusal(explain_no_contract(found, "MANIFEST"))
    return manifests


def explain_no_contract(found: Configuration | None, what: str) -> str:
    """Return why a command has no contract to work on. `what` is what to name on the command line, as its help calls it."""
    if found is None:
        where = "no pyproject.toml in this folder or above has a [tool.trellis-gen]"
    else:
        where = f"[tool.trellis-gen] of {found.shown_file} has no contracts"
    return f"no contract is named, and {where}; name {what}, or add a [[tool.trellis-gen.contracts]]; trellis-gen init starts a project"
