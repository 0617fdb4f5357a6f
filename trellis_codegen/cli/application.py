"""The verbs and their options; the module of a verb is imported when it runs, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["application"]

application = typer.Typer(
    name="trellis-gen",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(value: bool) -> None:
    if value:
        import importlib.metadata  # noqa: PLC0415 - 30 ms that only this needs

        typer.echo(f"trellis-gen {importlib.metadata.version('trellis-codegen')}")
        raise typer.Exit


@application.callback()
def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Generate a typed Python package from a Trellis contract.

    Exit codes: 0 fine, 1 drift found, 2 usage, 3 invalid contract, 5 output refused, 130 interrupted.
    """


@application.command("facade")
def _facade(
    manifest: Annotated[
        Path, typer.Argument(help="The contract: a trellis.contract.v1 manifest.", show_default=False)
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(help="The folder that the package is written into.", show_default="the current one"),
    ] = Path(),
    package: Annotated[
        str | None,
        typer.Option(help="The package's name.", show_default="the contract's id, as in orders_participant"),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; print what would change, and exit with 1 if anything would."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Treat fields that the format does not have as errors.")
    ] = False,
) -> None:
    """Generate the package of a contract, or check that it is up to date."""
    from trellis_codegen.cli.facade import run  # noqa: PLC0415 - keeps --help quick: this loads pydantic, jinja2, black

    raise typer.Exit(run(manifest, out=out, package=package, check=check, strict=strict))
