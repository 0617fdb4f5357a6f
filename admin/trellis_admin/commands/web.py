"""`trellis web`: the console in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trellis_admin.connections import Connection, connected

if TYPE_CHECKING:
    from trellis_admin.web.console import Settings

__all__ = ["app"]

_PORT: Final = 8420
_ACCESS: Final = "Who may look"
_PLACE: Final = "Where it is"

_Host = Annotated[str, typer.Option(rich_help_panel=_PLACE, help="The address to listen on.")]
_Port = Annotated[
    int, typer.Option(rich_help_panel=_PLACE, min=0, max=65_535, help="The port; 0 takes a free one.")
]
_HostName = Annotated[
    list[str] | None,
    typer.Option(rich_help_panel=_PLACE, help="A name under which browsers reach it. Repeat it for several."),
]
_RootPath = Annotated[
    str, typer.Option(rich_help_panel=_PLACE, help="The path under which a proxy shows it: /trellis.")
]
_Actor = Annotated[
    str | None,
    typer.Option("--as", envvar="TRELLIS_ACTOR", help="Who acts. Default: the user of the system."),
]
_ReadOnly = Annotated[bool, typer.Option("--read-only", help="Nothing can be changed or revealed.")]
_Token = Annotated[
    str | None,
    typer.Option(
        "--web-token",
        rich_help_panel=_ACCESS,
        envvar="TRELLIS_WEB_TOKEN",
        help="Ask for this token; it makes an operator. Better set as the variable.",
    ),
]
_ViewerToken = Annotated[
    str | None,
    typer.Option(
        "--web-viewer-token",
        rich_help_panel=_ACCESS,
        envvar="TRELLIS_WEB_VIEWER_TOKEN",
        help="A token that makes a viewer.",
    ),
]
_UserHeader = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_ACCESS, help="The header in which an authenticating proxy names the person."
    ),
]
_Proxy = Annotated[
    list[str] | None,
    typer.Option(rich_help_panel=_ACCESS, help="An address or network of the proxy. Default: this machine."),
]
_Operator = Annotated[
    list[str] | None,
    typer.Option(rich_help_panel=_ACCESS, help="A name that may change something. Others are viewers."),
]
_Viewer = Annotated[
    list[str] | None,
    typer.Option(rich_help_panel=_ACCESS, help="A name that may look. Default: every name of the proxy."),
]
_WhomToAsk = Annotated[
    str, typer.Option(rich_help_panel=_ACCESS, help="Who gives the role operator; viewers are shown it.")
]
_Contract = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PACKAGE",
        help="A generated package: it says which fields are secret, and which payloads are valid to be sent again.",
    ),
]
_Database = Annotated[
    Path | None, typer.Option(dir_okay=False, help="The file that keeps what was read of the stream.")
]
_Label = Annotated[str | None, typer.Option(help="The name of the environment, shown on every page.")]
_TraceAddress = Annotated[str, typer.Option(help="Where a trace is shown, with {trace_id} in it.")]

app = typer.Typer(add_completion=False)


@app.command()
@connected
def web(
    connection: Connection,
    host: _Host = "127.0.0.1",
    port: _Port = _PORT,
    host_name: _HostName = None,
    root_path: _RootPath = "",
    actor: _Actor = None,
    read_only: _ReadOnly = False,
    web_token: _Token = None,
    web_viewer_token: _ViewerToken = None,
    user_header: _UserHeader = None,
    proxy: _Proxy = None,
    operator: _Operator = None,
    viewer: _Viewer = None,
    whom_to_ask: _WhomToAsk = "",
    contract: _Contract = None,
    db: _Database = None,
    label: _Label = None,
    trace_address: _TraceAddress = "",
) -> None:
    """Show the jobs in a browser, and let operators change them, until Ctrl-C.

    It listens on loopback, where every person on this machine is the one who started it. Anywhere else it needs --web-token
    or --user-header. It needs the extra `web` of trellis-admin.

    Exit codes:
    0: stopped by Ctrl-C or SIGTERM.
    2: wrong usage, or the address is in use.
    3: the NATS server cannot be reached, or the account may not read the jobs.
    """
    _require_extra()
    from trellis_admin.packages import load_service
    from trellis_admin.payloads import PayloadContract
    from trellis_admin.web.choosing import Given, choose_access
    from trellis_admin.web.console import Settings

    given = Given(
        host, actor, web_token, web_viewer_token, user_header, proxy or [], operator or [], viewer, read_only
    )
    settings = Settings(
        server=connection.server,
        options=connection.options,
        database=db,
        access=choose_access(given),
        contracts=tuple(PayloadContract.of(load_service(package)) for package in contract or ()),
        label=label,
        whom_to_ask=whom_to_ask,
        trace_address=trace_address,
    )
    _serve(settings, host, port, {*(host_name or ()), host}, root_path.rstrip("/"))


def _serve(settings: Settings, host: str, port: int, names: set[str], root_path: str) -> None:
    import asyncio

    from trellis_admin.web.protection import LOOPBACK
    from trellis_admin.web.serving import listen, serve

    with listen(host, port) as listening:
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listening.getsockname()[1]}{root_path}/"
        asyncio.run(
            serve(
                settings,
                listening,
                hosts=LOOPBACK | names,
                root_path=root_path,
                ready=lambda: typer.echo(f"The console is at {address}"),
            )
        )


def _require_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "jinja2", "uvicorn") if find_spec(name) is None]
    if missing:
        from trellis_nats import ConfigurationError

        raise ConfigurationError(f'the console needs {", ".join(missing)}: pip install "trellis-admin[web]"')
