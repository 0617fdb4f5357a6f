"""The options with which every command reaches a server, and the connection that they describe."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Final, ParamSpec, cast

import typer

if TYPE_CHECKING:
    import ssl

    from trellis_nats import Options

__all__ = ["Connection", "connected"]

Arguments = ParamSpec("Arguments")

_PANEL: Final = "Connection"
"""The part of `--help` that lists them."""
_SERVER: Final = "nats://127.0.0.1:4222"
_Server = Annotated[
    str,
    typer.Option(
        rich_help_panel=_PANEL,
        envvar="NATS_URL",
        help="The address of the server; several with commas between them.",
    ),
]
_Creds = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=_PANEL, envvar="NATS_CREDS", exists=True, dir_okay=False, help="A .creds file."
    ),
]
_Nkey = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=_PANEL,
        envvar="NATS_NKEY",
        exists=True,
        dir_okay=False,
        help="The file of an nkey seed.",
    ),
]
_User = Annotated[str | None, typer.Option(rich_help_panel=_PANEL, envvar="NATS_USER")]
_Password = Annotated[
    str | None,
    typer.Option(rich_help_panel=_PANEL, envvar="NATS_PASSWORD", help="Better set as NATS_PASSWORD."),
]
_Token = Annotated[
    str | None, typer.Option(rich_help_panel=_PANEL, envvar="NATS_TOKEN", help="Better set as NATS_TOKEN.")
]
_TlsCa = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=_PANEL,
        exists=True,
        dir_okay=False,
        help="Trust this certificate authority. Connect with TLS only.",
    ),
]
_Domain = Annotated[
    str | None, typer.Option(rich_help_panel=_PANEL, help="The domain of the JetStream to use.")
]
_ApiPrefix = Annotated[
    str | None,
    typer.Option(rich_help_panel=_PANEL, help="The prefix of JetStream's API, where it is not $JS.API."),
]
_InboxPrefix = Annotated[
    str | None,
    typer.Option(rich_help_panel=_PANEL, help="The prefix of the subjects on which answers arrive."),
]


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where a command connects to, and how."""

    server: str
    """The address; several with commas between them."""
    make_options: Callable[[], Options]

    @cached_property
    def options(self) -> Options:
        """They serve and provision nothing. They are made at their first use: the help of a command below another one has none."""
        return self.make_options()


def connected(command: Callable[Concatenate[Connection, Arguments], None]) -> Callable[..., None]:
    """Give a command the options of a connection, after its own.

    The command gets the `Connection` that they describe as its first argument, and does not list them.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    added = inspect.signature(_describe_connection, eval_str=True).parameters

    @wraps(command)
    def run(**arguments: Any) -> None:  # typer has converted them by the signature
        connection = _describe_connection(**{name: arguments.pop(name) for name in added})
        cast("Callable[..., None]", command)(connection, **arguments)

    signature = inspect.Signature([*own, *added.values()])
    run.__signature__ = signature  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - read by inspect.signature
    return run


def _describe_connection(
    server: _Server = _SERVER,
    creds: _Creds = None,
    nkey: _Nkey = None,
    user: _User = None,
    password: _Password = None,
    token: _Token = None,
    tls_ca: _TlsCa = None,
    domain: _Domain = None,
    api_prefix: _ApiPrefix = None,
    inbox_prefix: _InboxPrefix = None,
) -> Connection:
    def make_options() -> Options:
        from trellis_nats import Credentials, Options  # noqa: PLC0415 - `--help` needs the signature, not the runtime

        return Options(
            open=True,  # it serves and calls nothing
            credentials=Credentials(
                file=creds, nkey_seed_file=nkey, token=token, user=user, password=password
            ),
            tls=None if tls_ca is None else _trust(tls_ca),
            provision="off",
            jetstream_domain=domain,
            jetstream_api_prefix=api_prefix,
            inbox_prefix=inbox_prefix,
        )

    return Connection(server=server, make_options=make_options)


def _trust(authority: Path) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - likewise

    from trellis_nats import ConfigurationError  # noqa: PLC0415 - likewise

    try:
        return ssl.create_default_context(cafile=str(authority))
    except OSError as error:  # also what OpenSSL raises
        raise ConfigurationError(
            f"--tls-ca: {authority} has no certificate that can be read; pass a PEM file ({error})"
        ) from None
