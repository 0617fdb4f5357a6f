"""A group whose commands are imported when one of them runs, so that `trellis --help` imports none."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["COMMANDS", "Command", "LazyGroup"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command of `trellis`: where it is, and what `trellis --help` says about it."""

    name: str
    module: str
    """A module of `trellis_admin.commands` with a `typer.Typer` that is called `app`."""
    help: str


COMMANDS: Final = (
    Command(
        name="doctor",
        module="doctor",
        help="Look for what keeps jobs from running, and print the remedy of each fault.",
    ),
    Command(
        name="web",
        module="web",
        help="Show the jobs in a browser, and let operators change them.",
    ),
    Command(name="up", module="up", help="Run a nats-server for development on this machine."),
    Command(name="jobs", module="jobs", help="List, show, watch and steer jobs."),
    Command(name="dead", module="dead", help="List dead jobs, group them by error, replay or dismiss them."),
    Command(name="bulk", module="bulk", help="List, show, watch and steer actions on many jobs."),
    Command(name="keys", module="keys", help="List, show and release concurrency keys."),
    Command(name="queues", module="queues", help="List, pause and resume queues."),
    Command(
        name="workers", module="workers", help="List the processes that work queues, those in trouble first."
    ),
    Command(name="tail", module="tail", help="Print the events of all jobs as they are stored."),
    Command(name="top", module="top", help="Show queues and workers, again each second."),
    Command(name="audit-log", module="audit_log", help="Print who changed or saw what, and why."),
    Command(
        name="provision",
        module="provision",
        help="Plan and apply what contracts change on a server.",
    ),
    Command(
        name="metrics", module="metrics", help="Print the numbers of the fleet as Prometheus reads them."
    ),
    Command(name="admin", module="admin", help="Run what a fleet needs in addition to its workers."),
    Command(
        name="permissions",
        module="permissions",
        help="Print what a user of NATS must be allowed to do, as server configuration.",
    ),
    Command(
        name="audit",
        module="audit",
        help="Read the payload of every job that waits or is dead, as a worker of a contract would. Nothing is changed.",
    ),
)
"""In the order of `trellis --help`."""


class LazyGroup(TyperGroup):
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
        modules = {known.name: known.module for known in COMMANDS}
        return name, command if name is None else _load(modules[name], name), rest


def _load(module: str, name: str) -> object:
    app: typer.Typer = import_module(f"trellis_admin.commands.{module}").app
    command = typer.main.get_command(app)
    command.name = name
    return command
