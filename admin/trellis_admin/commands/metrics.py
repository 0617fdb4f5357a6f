"""`trellis metrics`: the numbers of a fleet, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trellis_admin.connections import Connection, connected

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@connected
def metrics(
    connection: Connection,
    db: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            metavar="FILE",
            help="The file of the projection. Default: below your cache folder.",
        ),
    ] = None,
) -> None:
    """Print the numbers of the fleet as Prometheus reads them: queues, waits, errors, workers, streams.

    `trellis admin serve --metrics-port` serves them; docs/operate lists them.

    Exit codes:
    0: printed.
    2: wrong usage.
    3: the server cannot be reached, or the account may not read the jobs.
    """
    import asyncio

    from trellis_admin.terminal import print_text

    print_text(asyncio.run(_read(connection, db)).removesuffix("\n"))


async def _read(connection: Connection, db: Path | None) -> str:
    from trellis_admin.metrics import FleetMetrics
    from trellis_admin.operator import connect

    async with connect(connection.server, connection.options, db=db) as operator:
        return await FleetMetrics(operator.session.connection, operator.session.database).text()
