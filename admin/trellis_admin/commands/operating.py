"""Gives a command an `Operator`, and the options that say who acts and where the projection is."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Final, ParamSpec, cast

import typer

from trellis_admin.connections import Connection, connected

if TYPE_CHECKING:
    from trellis_admin.operator import Operator

__all__ = ["AsJson", "operated"]

Arguments = ParamSpec("Arguments")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; its shape is documented and versioned.")]

_PANEL: Final = "Operator"
_SOURCE: Final = "command line"
_Actor = Annotated[
    str | None,
    typer.Option(
        "--as",
        rich_help_panel=_PANEL,
        envvar="TRELLIS_ACTOR",
        metavar="NAME",
        help="The actor, for the history of jobs and the audit log. Default: the user of this machine.",
    ),
]
_Db = Annotated[
    Path | None,
    typer.Option(
        "--db",
        rich_help_panel=_PANEL,
        dir_okay=False,
        help="The file in which jobs are indexed. Default: one for each account, in the cache folder.",
    ),
]
_Contracts = Annotated[
    list[str] | None,
    typer.Option(
        "--contract",
        rich_help_panel=_PANEL,
        metavar="PACKAGE",
        help="A generated package: payloads are checked against it, and what its schemas call secret is not shown. May be repeated.",
    ),
]


def operated(command: Callable[Concatenate[Operator, Arguments], Awaitable[None]]) -> Callable[..., None]:
    """Run an async command with an operator, whose index is up to date.

    The command gets the `Operator` as its first argument, and does not list the options that describe it.
    """
    own = list(inspect.signature(command, eval_str=True, locals={"Operator": object}).parameters.values())[1:]
    added = list(inspect.signature(_describe, eval_str=True).parameters.values())

    def run(connection: Connection, /, **arguments: Any) -> None:  # typer has converted them by the signature
        actor, db, contracts = (arguments.pop(parameter.name) for parameter in added)
        _run(cast("Callable[..., Awaitable[None]]", command), connection, actor, db, contracts, arguments)

    first = inspect.Parameter("connection", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Connection)
    signature = inspect.Signature([first, *own, *added])
    run.__signature__ = signature  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - read by inspect.signature
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return connected(run)


def _describe(actor: _Actor = None, db: _Db = None, contracts: _Contracts = None) -> None:
    """Have the options of an operator as a signature."""


def _run(
    command: Callable[..., Awaitable[None]],
    connection: Connection,
    actor: str | None,
    db: Path | None,
    contracts: list[str] | None,
    arguments: dict[str, Any],
) -> None:
    import asyncio

    from trellis_admin.operator import connect
    from trellis_admin.packages import load_service
    from trellis_admin.terminal import ProgressLine

    services = [load_service(package) for package in contracts or ()]

    async def work() -> None:
        with ProgressLine("reading jobs") as line:
            async with connect(
                connection.server,
                connection.options,
                actor=actor,
                source=_SOURCE,
                db=db,
                contract=services,
                progress=line.show,
            ) as operator:
                await command(operator, **arguments)

    asyncio.run(work())
