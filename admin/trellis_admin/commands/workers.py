"""`trellis workers`: the processes that work queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trellis_admin.commands.list_by_default import ListByDefault
from trellis_admin.commands.operating import AsJson, operated

if TYPE_CHECKING:
    from trellis_admin.operator import Operator

__all__ = ["app"]

app = typer.Typer(add_completion=False, cls=ListByDefault)


@app.callback()
def _describe() -> None:
    """List the processes that work queues, those in trouble first."""


@app.command("list")
@operated
async def list_command(
    operator: Operator,
    service: Annotated[
        str | None, typer.Option("--service", metavar="SERVICE", help="Only the processes of this service.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the processes that work queues, those in trouble first: heartbeat, load, host, contract, version.

    Exit codes:
    0: no worker is silent, or none has sent a heartbeat within a day.
    1: one is silent: it has missed two heartbeats. A late one has missed one.
    """
    from trellis_nats._support.plural import plural
    from trellis_nats.clock import now

    from trellis_admin.exits import ExitCode
    from trellis_admin.queries import list_workers
    from trellis_admin.terminal import print_json, print_table
    from trellis_admin.texts.fleet import tabulate_workers

    at = now()
    rows = [row for row in await operator.ask(list_workers, at) if service in {None, row.service}]
    silent, late = sum(row.is_silent for row in rows), sum(row.is_late for row in rows)
    blocked = sum(row.is_blocked for row in rows)
    if as_json:
        print_json("workers", {"workers": rows})
    elif rows:
        print_table(tabulate_workers(rows, at))
        typer.echo(
            f"{plural(len(rows), 'worker')}, {f'{blocked} blocked, ' if blocked else ''}"
            f"{f'{late} late, ' if late else ''}{silent} silent",
            err=True,
        )
        left = next((row for row in rows if (row.is_silent or row.is_blocked) and row.running), None)
        if left is not None:
            typer.echo(f"next: trellis jobs list worker:{left.instance_id} state:active", err=True)
    else:
        typer.echo("no worker has sent a heartbeat within a day", err=True)
    raise typer.Exit(ExitCode.LEFT if silent else ExitCode.OK)
