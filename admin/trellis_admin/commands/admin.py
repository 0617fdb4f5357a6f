"""`trellis admin serve`: the process next to a fleet."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trellis_admin.connections import Connection, connected
from trellis_admin.exits import ExitCode

if TYPE_CHECKING:
    from trellis_admin.rpc.process import AdminOptions, AdminProcess

__all__ = ["app"]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Run what a fleet needs in addition to its workers."
)


@app.callback()
def _describe() -> None:
    """Run what a fleet needs in addition to its workers."""


_METRICS_HOST: Final = "127.0.0.1"
_GRACE: Final = 30.0

MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0, max=65_535, metavar="PORT", help="Serve /metrics for Prometheus; 0 takes a free port."
    ),
]
MetricsHost = Annotated[str, typer.Option(metavar="ADDRESS", help="Where /metrics listens.")]
Db = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False, metavar="FILE", help="The file of the projection. Default: below your cache folder."
    ),
]
Duties = Annotated[
    bool,
    typer.Option(
        help="Expire overdue jobs, mark as dead what foreign consumers gave up, and continue bulk actions."
    ),
]
Grace = Annotated[
    float,
    typer.Option(
        min=0, metavar="SECONDS", help="How long after a deadline workers may expire a job themselves."
    ),
]
Rpc = Annotated[bool, typer.Option(help="Answer the RPCs Jobs.List, Jobs.Get, Jobs.Cancel …")]
IsOpen = Annotated[
    bool,
    typer.Option(
        "--open",
        help="Answer the RPCs on a server on another machine too: every program that may publish to rpc.v1.Jobs.> can "
        "then see and steer jobs.",
    ),
]
Callers = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        metavar="FILE",
        help="Answer the RPCs only to the callers of this file, as far as their capabilities go: trellis.jobs::admin.read, "
        "trellis.jobs::admin.mutate.",
    ),
]
Contracts = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PACKAGE",
        help="A generated package: what its schemas call secret is not in what Jobs.Get returns, and a payload that it does not read "
        "is not sent again.",
    ),
]


@app.command()
@connected
def serve(
    connection: Connection,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = _METRICS_HOST,
    db: Db = None,
    duties: Duties = True,
    grace: Grace = _GRACE,
    rpc: Rpc = True,
    is_open: IsOpen = False,
    callers: Callers = None,
    contract: Contracts = None,
) -> None:
    """Follow the jobs, and do what no worker does, until Ctrl-C. Several replicas may run.

    Exit codes:
    0: stopped by Ctrl-C or SIGTERM.
    2: wrong usage, or a port that is in use.
    3: the server cannot be reached, or refuses what is needed.
    """
    import asyncio

    from trellis_nats.auth import CallersFile

    from trellis_admin.duties import DutyOptions
    from trellis_admin.packages import load_service
    from trellis_admin.payloads import PayloadContract
    from trellis_admin.rpc.process import AdminOptions

    # What is about something that is switched off.
    unused = {
        "--metrics-host": metrics_port is None and metrics_host != _METRICS_HOST and "--metrics-port",
        "--grace": not duties and grace != _GRACE and "--duties",
        "--open": not rpc and is_open and "--rpc",
        "--callers": not rpc and callers is not None and "--rpc",
    }
    for option, needed in unused.items():
        if needed:
            raise typer.BadParameter(f"it needs {needed}", param_hint=option)
    wanted = AdminOptions(
        db=db,
        duties=DutyOptions(grace=timedelta(seconds=grace)) if duties else None,
        rpc=rpc,
        is_open=is_open,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        contracts=tuple(PayloadContract.of(load_service(package)) for package in contract or ()),
    )
    if callers is not None:
        checked = replace(connection.options, callers=CallersFile(callers))
        connection = replace(connection, make_options=lambda: checked)
    asyncio.run(_serve(connection, wanted))
    raise typer.Exit(ExitCode.OK)


async def _serve(connection: Connection, wanted: AdminOptions) -> None:
    import asyncio

    from trellis_nats._support.signals import StopSignals

    from trellis_admin.rpc.process import admin_process

    signals = StopSignals(lambda: None)
    signals.install()
    try:
        async with admin_process(connection.server, connection.options, wanted) as process:
            for line in _describe_process(process, wanted):
                typer.echo(line, err=True)
            stopping = asyncio.create_task(signals.requested.wait(), name="stop request")
            await asyncio.wait({stopping, process.following}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if process.following.done():
                process.following.result()
    finally:
        signals.end()


def _describe_process(process: AdminProcess, wanted: AdminOptions) -> list[str]:
    lines = [f"following the jobs in {process.database}"]
    where = "off" if process.duties is None else "in one of the replicas, by leases in bucket TRELLIS_ADMIN"
    lines.append(f"duties and bulk actions: {where}")
    lines.append("RPCs: answered" if process.rpc is None else f"RPCs: not answered, {process.rpc}")
    if process.metrics_port is not None:
        lines.append(f"metrics: http://{wanted.metrics_host}:{process.metrics_port}/metrics")
    return lines
