"""The command `trellis`. Every run ends with an exit code and a sentence, never with a traceback."""

from __future__ import annotations

import asyncio
import ssl
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from trellis_nats import ConfigurationError, Credentials, Options, TrellisError

from trellis_admin.exits import ExitCode
from trellis_admin.packages import UnreadablePackage, load_service
from trellis_admin.provisioning import ServicePlan, apply_service, plan_service
from trellis_admin.report import to_json, to_text

__all__ = ["main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
provision = typer.Typer(no_args_is_help=True, help="Plan and apply what contracts change on a server.")
app.add_typer(provision, name="provision")


class Format(StrEnum):
    """How output is written."""

    TEXT = "text"
    JSON = "json"


Manifests = Annotated[
    list[str],
    typer.Argument(
        metavar="MANIFEST...",
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

_SERVER = "nats://127.0.0.1:4222"


@provision.command("plan")
def plan_command(
    manifests: Manifests,
    server: Server = _SERVER,
    creds: Creds = None,
    nkey: Nkey = None,
    user: User = None,
    password: Password = None,
    token: Token = None,
    tls_ca: TlsCa = None,
    domain: Domain = None,
    api_prefix: ApiPrefix = None,
    inbox_prefix: InboxPrefix = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Print what is, what should be, and what each change does to waiting work. Nothing is changed.

    Exit code 0: the server has what the contracts state. 1: something differs, or a removed queue holds jobs. 2: wrong usage. 3: the
    server cannot be asked.
    """
    options = _options(
        _credentials(creds, nkey, user, password, token),
        tls_ca,
        jetstream_domain=domain,
        jetstream_api_prefix=api_prefix,
        inbox_prefix=inbox_prefix,
    )
    services = [load_service(manifest) for manifest in manifests]
    _finish([asyncio.run(plan_service(service, server, options)) for service in services], output_format)


@provision.command("apply")
def apply_command(
    manifests: Manifests,
    server: Server = _SERVER,
    creds: Creds = None,
    nkey: Nkey = None,
    user: User = None,
    password: Password = None,
    token: Token = None,
    tls_ca: TlsCa = None,
    domain: Domain = None,
    api_prefix: ApiPrefix = None,
    inbox_prefix: InboxPrefix = None,
    replicas: Replicas = None,
    max_bytes: MaxBytes = None,
    allow_destroy: AllowDestroy = False,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Apply what `plan` prints, each change on its own. Nothing is deleted or limited without --allow-destroy.

    Exit code 0: everything is applied. 1: something is not. 2: wrong usage. 3: the server cannot be asked.
    """
    options = replace(
        _options(
            _credentials(creds, nkey, user, password, token),
            tls_ca,
            jetstream_domain=domain,
            jetstream_api_prefix=api_prefix,
            inbox_prefix=inbox_prefix,
        ),
        replicas=replicas,
        max_bytes=max_bytes,
    )
    services = [load_service(manifest) for manifest in manifests]
    _finish(
        [
            asyncio.run(apply_service(service, server, options, allow_destroy=allow_destroy))
            for service in services
        ],
        output_format,
    )


def main() -> None:
    """Run `trellis`."""
    try:
        app()
    except (UnreadablePackage, ConfigurationError) as error:
        _fail(str(error), ExitCode.USAGE)
    except TrellisError as error:
        _fail(str(error), ExitCode.SERVER)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _credentials(
    creds: Path | None, nkey: Path | None, user: str | None, password: str | None, token: str | None
) -> Credentials:
    return Credentials(file=creds, nkey_seed_file=nkey, token=token, user=user, password=password)


def _options(
    credentials: Credentials,
    tls_ca: Path | None,
    *,
    jetstream_domain: str | None,
    jetstream_api_prefix: str | None,
    inbox_prefix: str | None,
) -> Options:
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


def _finish(plans: list[ServicePlan], output_format: Format) -> None:
    typer.echo(to_json(plans) if output_format is Format.JSON else to_text(plans))
    raise typer.Exit(ExitCode.OK if all(planned.is_done for planned in plans) else ExitCode.LEFT)


def _fail(text: str, code: ExitCode) -> None:
    typer.echo(f"trellis: {text}", err=True)
    sys.exit(code)
