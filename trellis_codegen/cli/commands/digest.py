"""`trellis-gen digest`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trellis_codegen.cli.commands.options import QuietOption

__all__ = ["run"]


def run(
    manifests: Annotated[
        list[Path],
        typer.Argument(
            metavar="MANIFEST", help="The contracts, trellis.contract.v1 manifests; - reads standard input."
        ),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print file, id and digest as JSON.")] = False,
    quiet: QuietOption = False,
) -> int:
    """Run the command."""
    from trellis_codegen.cli import digest  # noqa: PLC0415 - `--help` needs none of it

    return digest.run(manifests, as_json=as_json, quiet=quiet)
