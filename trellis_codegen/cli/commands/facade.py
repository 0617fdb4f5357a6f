"""`trellis-gen facade`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trellis_codegen.cli.commands.options import (
    STRICT_HELP,
    FormatOption,
    JsonOption,
    QuietOption,
    WithOption,
    choose_format,
)
from trellis_codegen.cli.requests import Format, Mode, Request
from trellis_codegen.cli.targets import Choices, OtherSource

__all__ = ["run"]


def run(
    manifest: Annotated[
        Path | None,
        typer.Argument(
            metavar="MANIFEST",
            help="The contract, a trellis.contract.v1 manifest "
            "(default: those of [tool.trellis-gen] in pyproject.toml).",
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The folder that will contain the package (default: the current folder)."
        ),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The name of the package (default: from the contract's id)."),
    ] = None,
    others: WithOption = None,
    strict: Annotated[bool | None, typer.Option("--strict/--no-strict", help=STRICT_HELP)] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing, print a diff, and exit with 1 if there is one."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write nothing, list the files that would be written or deleted."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Generate again whenever a manifest is saved.")
    ] = False,
    output_format: FormatOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Run the command."""
    sources = tuple(map(OtherSource, others or ()))
    choices = Choices(manifest=manifest, out=out, package=package, strict=strict, others=sources)
    _refuse_more_than_one({"--check": check, "--dry-run": dry_run, "--watch": watch})
    chosen_format = choose_format(output_format, as_json=as_json)
    if watch:
        if chosen_format is not Format.TEXT:
            raise typer.TyperException("--watch prints text only")
        if manifest == Path("-"):
            raise typer.TyperException("--watch needs a file; standard input is read once")
        from trellis_codegen.cli.watch import watch as watch_saves  # noqa: PLC0415 - as below

        return watch_saves(choices, quiet=quiet)
    from trellis_codegen.cli import facade  # noqa: PLC0415 - `--help` needs none of it

    mode = Mode.CHECK if check else Mode.PREVIEW if dry_run else Mode.WRITE
    return facade.run(Request(choices=choices, mode=mode, format=chosen_format, quiet=quiet))


def _refuse_more_than_one(flags: dict[str, bool]) -> None:
    given = [name for name, is_given in flags.items() if is_given]
    if len(given) > 1:
        raise typer.TyperException(f"{' and '.join(given)} exclude each other; choose one")
