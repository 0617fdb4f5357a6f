"""The arguments and options that commands share, and what they mean to the runtime."""

from __future__ import annotations

import ssl
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from trellis_nats import ConfigurationError, Credentials, Options

__all__ = [
    "SERVER",
    "AllowDestroy",
    "ApiPrefix",
    "Creds",
    "Domain",
    "Format",
    "InboxPrefix",
    "Manifests",
    "MaxBytes",
    "Nkey",
    "OutputFormat",
    "Password",
    "Replicas",
    "Server",
    "TlsCa",
    "Token",
    "User",
    "make_credentials",
    "make_options",
]


class Format(StrEnum):
    """How output is written."""

    TEXT = "text"
    JSON = "json"


Manifests = Annotated[
    list[str],
    typer.Argument(
        metavar="PACKAGE...",
        help="A generated package: its folder, the contract.json in it, or its module name.",
        show_default=False,
    ),
]
Server = Annotated[
    str, typer.Option(envvar="NATS_URL", help="The address of the server; several with commas between them.")
]
Creds = Annotated[
    Path | None, typer.Option(envvar="NATS_CREDS", exists=True, dir_okay=False, help="A .creds file.")
]
Nkey = Annotated[
    Path | None,
    typer.Option(envvar="NATS_NKEY", exists=True, dir_okay=False, help="The file of an nkey seed."),
]
User = Annotated[str | None, typer.Option(envvar="NATS_USER")]
Password = Annotated[str | None, typer.Option(envvar="NATS_PASSWORD", help="Better set as NATS_PASSWORD.")]
Token = Annotated[str | None, typer.Option(envvar="NATS_TOKEN", help="Better set as NATS_TOKEN.")]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="Trust this certificate authority. Connect with TLS only."
    ),
]
Domain = Annotated[str | None, typer.Option(help="The domain of the JetStream to use.")]
ApiPrefix = Annotated[
    str | None, typer.Option(help="The prefix of JetStream's API, where it is not $JS.API.")
]
InboxPrefix = Annotated[str | None, typer.Option(help="The prefix of the subjects on which answers arrive.")]
Replicas = Annotated[
    int | None, typer.Option(min=1, help="Replicas of what is created. Default: 3 in a cluster.")
]
MaxBytes = Annotated[int | None, typer.Option(min=1, help="The limit of each stream that is created.")]
OutputFormat = Annotated[Format, typer.Option("--format", help="How the plan is written.")]
AllowDestroy = Annotated[
    bool,
    typer.Option("--allow-destroy", help="Also apply what deletes or limits stored values or waiting work."),
]

SERVER: Final = "nats://127.0.0.1:4222"


def make_credentials(
    creds: Path | None, nkey: Path | None, user: str | None, password: str | None, token: str | None
) -> Credentials:
    """Return what logs in."""
    return Credentials(file=creds, nkey_seed_file=nkey, token=token, user=user, password=password)


def make_options(
    credentials: Credentials,
    tls_ca: Path | None,
    *,
    jetstream_domain: str | None,
    jetstream_api_prefix: str | None,
    inbox_prefix: str | None,
) -> Options:
    """Return the options of a connection that serves and provisions nothing."""
    return Options(
        open=True,  # it serves and calls nothing
        credentials=credentials,
        tls=None if tls_ca is None else _trust(tls_ca),
        provision="off",
        jetstream_domain=jetstream_domain,
        jetstream_api_prefix=jetstream_api_prefix,
        inbox_prefix=inbox_prefix,
    )


def _trust(authority: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(authority))
    except OSError as error:  # also what OpenSSL raises
        raise ConfigurationError(
            f"--tls-ca: {authority} has no certificate that can be read; pass a PEM file ({error})"
        ) from None
