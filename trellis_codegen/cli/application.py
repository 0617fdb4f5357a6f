"""The command `trellis-gen` as a typer application: its own options, and how a run of one of its commands ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from trellis_codegen import __version__
from trellis_codegen.cli.commands.lazy import LazyGroup
from trellis_codegen.cli.exits import ExitCode

__all__ = ["application", "run_command"]

_NAME = "trellis-gen"
_COMPLETION_VARIABLE = "_TRELLIS_GEN_COMPLETE"
"""Set by the script of a shell's completion; its name is typer's choice."""
_EXIT_CODES = (
    "Exit codes: 0 success, 1 difference found by --check or break found by breaking, 2 usage, 3 invalid contract, "
    "5 output refused, 70 bug, "
    "130 interrupted."
)

application = typer.Typer(
    name=_NAME,
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_CODES,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def run_command(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name, and return its exit code; a mistake in them is reported.

    Raises:
        SystemExit: shell completion was requested, and has been printed.
    """
    command = get_command(application)
    if os.environ.get(_COMPLETION_VARIABLE):
        command.main([*arguments], prog_name=_NAME)
    context = None
    # Not `command.main`, which ends a run whose output was closed with the exit code of drift.
    try:
        with command.make_context(_NAME, [*arguments]) as context:
            code: object = command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        subcommand = context.invoked_subcommand if context else None
        name = f"{_NAME} {subcommand}" if subcommand else _NAME
        sys.stderr.write(f'error: {_describe(error)}\nrun "{name} --help" for usage\n')
        return ExitCode.USAGE
    return code if isinstance(code, int) else ExitCode.OK


def _describe(error: typer.TyperException) -> str:
    """Return typer's error as one sentence, in the style of every other message."""
    message = error.format_message()
    options: object = getattr(error, "possibilities", None)
    if isinstance(options, list) and options:
        message = f'{error.message}; did you mean "{options[0]}"?'
    message = message.replace("Value error, ", "")  # pydantic's, by which typer converts values
    message = message.replace(". Did you mean", "; did you mean").removesuffix(".")
    return f"{message[:1].lower()}{message[1:]}"


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"{_NAME} {__version__}")
        raise typer.Exit


@application.callback()
def _require_command(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Generate a typed Python package from a Trellis contract."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.USAGE)
