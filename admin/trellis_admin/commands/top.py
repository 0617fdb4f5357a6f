"""`trellis top`: queues and workers, again each second."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trellis_admin.commands.operating import operated

if TYPE_CHECKING:
    from trellis_admin.operator import Operator
    from trellis_admin.terminal import Table

__all__ = ["app"]

app = typer.Typer(add_completion=False)

_WINDOW: Final = timedelta(minutes=5)


@app.command()
@operated
async def top(
    operator: Operator,
    every: Annotated[
        float, typer.Option("--every", min=0.5, max=60, metavar="SECONDS", help="How often it looks again.")
    ] = 1.0,
) -> None:
    """Show queues and workers, and look again each second, until Ctrl-C. Rates are of the last 5 minutes.

    Where the output is not a terminal, it is printed once.
    """
    import asyncio
    import sys

    from trellis_admin.terminal import print_table, print_text
    from trellis_admin.terminal.live_screen import LiveScreen

    if not sys.stdout.isatty():
        for table, note in await _look(operator):
            print_table(table)
            print_text(note)
        return
    with LiveScreen() as screen:
        while True:
            screen.show(await _look(operator))
            await asyncio.sleep(every)
            await operator.catch_up()


async def _look(operator: Operator) -> list[tuple[Table, str]]:
    from trellis_nats.clock import now

    from trellis_admin.commands.queues import read_pauses
    from trellis_admin.queries import list_queues, list_workers, read_status
    from trellis_admin.texts.fleet import describe_pauses, tabulate_queues, tabulate_workers

    at = now()
    queues = await operator.ask(list_queues, _WINDOW, at)
    workers = await operator.ask(list_workers, at)
    status = await operator.ask(read_status)
    pauses = await read_pauses(operator, queues)
    notes = "\n".join([*describe_pauses(pauses, at), ""])
    return [
        (tabulate_queues(queues, pauses, at), notes),
        (tabulate_workers(workers, at), f"{at:%H:%M:%S} UTC, sequence {status.at:,}"),
    ]
