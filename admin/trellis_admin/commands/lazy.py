"""A group whose commands are imported when one of them runs, so that `trellis --help` imports none."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from trellis_admin.commands.values import convert_only_what_is_used

__all__ = ["COMMANDS", "Command", "LazyGroup"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command of `trellis`: where it is, and what `trellis --help` says about it."""

    name: str
    module: str
    """A module of `trellis_admin.commands` with a `typer.Typer` that is called `app`."""
    panel: str
    """The part of `trellis --help` that lists it."""
    help: str


_JOBS: Final = "Jobs"
_FLEET: Final = "Queues and workers"
_SERVER: Final = "Server"
_CONTRACTS: Final = "Contracts"

COMMANDS: Final = (
    Command(name="jobs", module="jobs", panel=_JOBS, help="List, show, watch and steer jobs."),
    Command(
        name="dead",
        module="dead",
        panel=_JOBS,
        help="List dead jobs, group them by error, replay or dismiss them.",
    ),
    Command(
        name="bulk", module="bulk", panel=_JOBS, help="List, show, watch and steer actions on many jobs."
    ),
    Command(name="tail", module="tail", panel=_JOBS, help="Print the events of all jobs as they are stored."),
    Command(
        name="audit-log", module="audit_log", panel=_JOBS, help="Print who changed or saw what, and why."
    ),
    Command(name="queues", module="queues", panel=_FLEET, help="List, pause and resume queues."),
    Command(
        name="workers",
        module="workers",
        panel=_FLEET,
        help="List the processes that work queues, those in trouble first.",
    ),
    Command(name="keys", module="keys", panel=_FLEET, help="List, show and release concurrency keys."),
    Command(name="top", module="top", panel=_FLEET, help="Show queues and workers, again each second."),
    Command(
        name="web",
        module="web",
        panel=_FLEET,
        help="Show the jobs in a browser, and let operators change them.",
    ),
    Command(
        name="metrics",
        module="metrics",
        panel=_FLEET,
        help="Print the numbers of the fleet as Prometheus reads them.",
    ),
    Command(
        name="admin",
        module="admin",
        panel=_FLEET,
        help="Run what a fleet needs in addition to its workers.",
    ),
    Command(name="up", module="up", panel=_SERVER, help="Run a nats-server for development on this machine."),
    Command(
        name="doctor",
        module="doctor",
        panel=_SERVER,
        help="Look for what keeps jobs from running, and print the remedy of each fault.",
    ),
    Command(
        name="provision",
        module="provision",
        panel=_CONTRACTS,
        help="Plan and apply what contracts change on a server.",
    ),
    Command(
        name="permissions",
        module="permissions",
        panel=_CONTRACTS,
        help="Print what a user of NATS must be allowed to do, as server configuration.",
    ),
    Command(
        name="callers",
        module="callers",
        panel=_CONTRACTS,
        help="Make session keys, and edit the file that says which of them may call a service.",
    ),
    Command(
        name="audit",
        module="audit",
        panel=_CONTRACTS,
        help="Read the payload of every job that waits or is dead, as a worker of a contract would. Nothing is changed.",
    ),
)
"""In the order of `trellis --help`."""


class LazyGroup(TyperGroup):
    """The commands of `COMMANDS`. Help and suggestions read the table; only a command that runs is imported."""

    def __init__(self, **settings: Any) -> None:  # typer passes its own settings
        super().__init__(**settings)
        self.commands = {
            command.name: TyperCommand(
                command.name, help=command.help, rich_help_panel=command.panel, callback=None
            )
            for command in COMMANDS
        }
        convert_only_what_is_used(self)

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
    convert_only_what_is_used(command)
    return command
