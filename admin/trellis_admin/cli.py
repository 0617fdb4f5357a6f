"""The command `trellis`. Every run ends with an exit code and a sentence, never with a traceback."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from trellis_nats import ConfigurationError, TrellisError

from trellis_admin.commands.audit import audit
from trellis_admin.commands.provision import provision
from trellis_admin.exits import ExitCode
from trellis_admin.manifests import InvalidManifest
from trellis_admin.packages import UnreadablePackage

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(provision, name="provision")
app.add_typer(audit, name="audit")


def _print_version(wanted: bool) -> None:
    if wanted:
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
        app()
    except (UnreadablePackage, ConfigurationError) as error:
        _fail(str(error), ExitCode.USAGE)
    except InvalidManifest as error:
        typer.echo(str(error), err=True)
        sys.exit(ExitCode.INVALID)
    except TrellisError as error:
        _fail(str(error), ExitCode.SERVER)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _fail(text: str, code: ExitCode) -> None:
    typer.echo(f"trellis: {text}", err=True)
    sys.exit(code)
