"""A group whose commands are imported when one of them runs, so that `--help` and a run with nothing to do stay fast."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand
from typer.main import get_command

from trellis_codegen.cli.commands.values import PlainCommand, PlainGroup

__all__ = ["COMMANDS", "Command", "LazyGroup", "load_command"]


class Command(NamedTuple):
    """A command of `trellis-gen`: a function `run` in the module of its name, and what its help says first."""

    name: str
    help: str


COMMANDS: Final = (
    Command("init", "Write a new project that runs: a service, a demo and tests."),
    Command("facade", "Generate the packages of contracts, or check them."),
    Command("validate", "Report every problem of contracts, and write nothing."),
    Command("fmt", "Format manifests: white space changes, and nothing else."),
    Command("digest", "Print the digest of contracts, which identifies their version."),
    Command(
        "breaking",
        "Report which changes break callers, queued jobs or values.",
    ),
    Command("schema", "Print the JSON Schema of manifests, for editors."),
    Command("explain", "Print what a member of a manifest, a rule or an error means."),
)
"""In the order of `trellis-gen --help`."""


class LazyGroup(PlainGroup):
    """The commands of `COMMANDS`. Help and suggestions read the table; only a command that runs is imported."""

    def __init__(self, **settings: Any) -> None:  # typer passes its own settings
        super().__init__(**settings)
        self.commands = {
            command.name: TyperCommand(command.name, help=command.help, callback=None) for command in COMMANDS
        }

    # The types of the parameters are private to typer.
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the arguments name, imported now."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else load_command(name), rest


def load_command(name: str) -> Any:
    """Return a command of the table with its options."""
    (found,) = (command for command in COMMANDS if command.name == name)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    run = import_module(f"trellis_codegen.cli.commands.{name}").run
    app.command(name, help=found.help, cls=PlainCommand)(run)
    return get_command(app)
