"""`trellis-gen init`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trellis_codegen.cli.commands.options import QuietOption
from trellis_codegen.cli.requests import Format
from trellis_codegen.cli.starting.requests import InitRequest, Template

__all__ = ["run"]


def run(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The name of the project (default: that of the current folder)."),
    ] = None,
    *,
    template: Annotated[
        Template | None,
        typer.Option(
            help="A service with jobs, one with RPCs and jobs, or a client of a service (default: jobs)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder of the project (default: the folder NAME; without NAME the current folder).",
        ),
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option(metavar="MANIFEST", help="The contract of the service that the client calls."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take the defaults.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, list the files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: QuietOption = False,
) -> int:
    """Run the command."""
    from trellis_codegen.cli.starting import command  # noqa: PLC0415 - `--help` needs none of it

    return command.run(
        InitRequest(
            name=name,
            template=template,
            out=out,
            contract=contract,
            is_preview=dry_run,
            may_ask=not yes,
            format=Format.JSON if as_json else Format.TEXT,
            quiet=quiet,
        )
    )
