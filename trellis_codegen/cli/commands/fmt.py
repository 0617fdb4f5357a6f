"""`trellis-gen fmt`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from trellis_codegen.cli.commands.options import ChosenManifestsArgument, QuietOption

__all__ = ["run"]


def run(
    manifests: ChosenManifestsArgument = None,
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing, print a diff, and exit with 1 if there is one."),
    ] = False,
    quiet: QuietOption = False,
) -> int:
    """Run the command."""
    from trellis_codegen.cli import fmt  # noqa: PLC0415 - `--help` needs none of it

    return fmt.run(manifests or (), check=check, quiet=quiet)
