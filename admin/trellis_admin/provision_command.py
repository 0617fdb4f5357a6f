"""`trellis provision plan|apply`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import typer

from trellis_admin.arguments import (
    SERVER,
    AllowDestroy,
    ApiPrefix,
    Creds,
    Domain,
    Format,
    InboxPrefix,
    Manifests,
    MaxBytes,
    Nkey,
    OutputFormat,
    Password,
    Replicas,
    Server,
    TlsCa,
    Token,
    User,
    make_credentials,
    make_options,
)
from trellis_admin.exits import ExitCode
from trellis_admin.packages import load_service
from trellis_admin.provisioning import ServicePlan, apply_service, plan_service
from trellis_admin.report import to_json, to_text

__all__ = ["provision"]

provision = typer.Typer(no_args_is_help=True, help="Plan and apply what contracts change on a server.")


@provision.command("plan")
def plan_command(
    manifests: Manifests,
    server: Server = SERVER,
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
    options = make_options(
        make_credentials(creds, nkey, user, password, token),
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
    server: Server = SERVER,
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
        make_options(
            make_credentials(creds, nkey, user, password, token),
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


def _finish(plans: list[ServicePlan], output_format: Format) -> None:
    typer.echo(to_json(plans) if output_format is Format.JSON else to_text(plans))
    raise typer.Exit(ExitCode.OK if all(planned.is_done for planned in plans) else ExitCode.LEFT)
