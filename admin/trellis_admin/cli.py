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
        code = app(prog_name="trellis", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else ExitCode.OK)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except typer.Abort:
        typer.echo("Aborted!", err=True)
        sys.exit(ExitCode.LEFT)
    except typer.TyperException as error:
        if text := _describe_usage_error(error):
            typer.echo(text, err=True)
        sys.exit(ExitCode.USAGE)
    except Exception as error:
        from trellis_admin.failures import describe_failure  # noqa: PLC0415 - it imports the runtime

        described = describe_failure(error)
        if described is None:
            raise
        text, code = described
        typer.echo(text, err=True)
        sys.exit(code)


def _describe_usage_error(error: typer.TyperException) -> str:
    """Return one line, as for every other error; typer would draw a box. A group without a command has printed its help."""
    said = " ".join(error.format_message().split()).removesuffix(".")
    if not said:
        return ""
    context = getattr(error, "ctx", None)  # only errors about a command have one
    path = "trellis" if context is None else context.command_path
    if said.startswith("No such option: -") and not said.endswith(("?", ")")):
        is_group = context is not None and hasattr(context.command, "commands")
        place = (
            f"options follow a command: {path} COMMAND"
            if is_group
            else "write -- before an argument that begins with -"
        )
        said += f" ({place})"
    given = said.partition("No such command '")[2].rstrip("'")
    if context is not None and (getattr(error, "option_name", None) == "--contract" or given):
        # Most commands call it so. The audit, which compares with it, does not, and takes no argument.
        options = {name for parameter in context.command.params for name in parameter.opts}
        said += f". Did you mean {f'--against {given}'.rstrip()}?" if "--against" in options else ""
    see = " See" if said.endswith("?") else "; see"
    return f"trellis: {said[0].lower()}{said[1:]}{see} {path} --help"
