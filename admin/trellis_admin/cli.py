"""The command `trellis`. Every run ends with an exit code and a sentence, never with a traceback."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from trellis_admin.commands.lazy import LazyGroup
from trellis_admin.exits import ExitCode

__all__ = ["main"]

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - a third of the time of `--help`

        typer.echo(f"trellis {version('trellis-admin')}")
        raise typer.Exit


@app.callback()
def _describe(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Operate services whose packages trellis-gen generates."""


def main() -> None:
    """Run `trellis`."""
    try:
        app(prog_name="trellis")
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        from trellis_admin.failures import describe_failure  # noqa: PLC0415 - it imports the runtime

        described = describe_failure(error)
        if described is None:
            raise
        text, code = described
        typer.echo(text, err=True)
        sys.exit(code)
