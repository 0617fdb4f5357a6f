"""Opens and closes the connection of a service or a client, and provisions what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.login import Login
from trellis_nats._nats.link.servers import is_loopback, parse_servers
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import ConfigurationError, PermissionDenied
from trellis_nats.options import Credentials, Options
from trellis_nats.permissions import inbox_prefix, permissions_missing, require_permissions
from trellis_nats.provision import provision, update_existing
from trellis_nats.runtime import Runtime

__all__ = ["default_replicas", "open_connection", "open_runtime", "require_one_login"]


@asynccontextmanager
async def open_runtime(runtime: Runtime, url: str) -> AsyncGenerator[None]:
    """Give a runtime its connection for the length of an `async with` block, and provision what its surfaces need.

    Raises:
        ConfigurationError: the options do not allow this URL, or leave out a use that the contract does not have.
        CannotConnect: the server cannot be reached, or refuses the credentials.
        PermissionsMissing: the account may not receive its answers.
        ProvisioningError: streams, consumers or buckets are missing or differ.
    """
    async with open_connection(runtime, url) as connection:
        runtime.before_start(lambda: require_permissions(runtime))
        await _provision(runtime, connection)
        await runtime.open()
        try:
            yield
        finally:
            await runtime.close()


@asynccontextmanager
async def open_connection(runtime: Runtime, url: str) -> AsyncGenerator[Connection]:
    """Give a runtime its connection for the length of an `async with` block, and nothing else: for a tool.

    Raises as `open_runtime`, but for `ProvisioningError`.
    """
    if runtime.is_client or any(surface.takes_calls for surface in runtime.surfaces):
        refuse_unsigned(url, runtime.options, is_client=runtime.is_client)
    runtime.check_uses()
    inbox = inbox_prefix(runtime)
    try:
        connection = await Connection.open(url, settings=_settings(runtime, inbox))
    except PermissionDenied as denial:
        missing = [f'{denial.operation} "{inbox}.>" (to receive answers)']
        raise permissions_missing(runtime, missing) from denial
    try:
        runtime.attach(connection)
        yield connection
    finally:
        await connection.close()


def require_one_login(url: str, options: Options) -> None:
    """Refuse an address with a user, password or token next to credentials in the options: one of them would be ignored.

    Raises:
        ConfigurationError: both are given, or the address is malformed.
    """
    named = parse_servers(url, ConnectionSettings())[1]
    is_given = options.credentials is not None and options.credentials != Credentials()
    if not is_given or (named.user is None and named.token is None):
        return
    raise ConfigurationError(
        "the address has a user, password or token, and Options.credentials are given too: give one of them"
    )


async def _provision(runtime: Runtime, connection: Connection) -> None:
    options, contract = runtime.options, runtime.contract
    if options.provision == "off":
        return
    if options.provision == "update" and runtime.may_create:
        await update_existing(connection, runtime.requirements(), contract)
    runtime.may_look_up = await provision(
        connection,
        runtime.requirements(),
        create=runtime.may_create,
        create_own=runtime.may_create_own,
        replicas=default_replicas(runtime, connection),
        max_bytes=options.max_bytes,
        contract=contract,
    )


def refuse_unsigned(url: str, options: Options, *, is_client: bool = False) -> None:
    """Refuse to serve or call without signatures on another machine, unless the options ask for it.

    A client must sign; a service that answers calls must check who calls, whether it signs its own calls or not. What a service
    has otherwise, such as jobs, is protected by permissions of NATS alone, in every mode.

    Raises:
        ConfigurationError: they do not, or an address is malformed.
    """
    if options.open or (options.session_key if is_client else options.callers) is not None:
        return
    for server in parse_servers(url, ConnectionSettings())[0].configured:
        host = urlsplit(server).hostname or ""
        if not is_loopback(host):
            problem, remedy = (
                ("calls would not be signed: the service could not tell who makes them", "session_key=…")
                if is_client
                else ("callers are not checked: anyone who may publish there would be served", "callers=…")
            )
            raise ConfigurationError(
                f'"{host}" is another machine, and {problem}; give Options({remedy}), or set Options(open=True) if '
                "that is intended"
            )


def default_replicas(runtime: Runtime, connection: Connection) -> int:
    """Return how many replicas a created stream has: those of the options, or else as many as the cluster can keep."""
    return runtime.options.replicas or (3 if connection.server_count >= 3 else 1)  # noqa: PLR2004 - jobs.md, "Streams"


def _settings(runtime: Runtime, inbox: str) -> ConnectionSettings:
    options = runtime.options
    settings = ConnectionSettings(
        name=f"{runtime.contract.id} {runtime.instance_id}",
        inbox_prefix=inbox,
        api_prefix=options.api_prefix,
        connect_timeout=options.connect_timeout,
        tls=options.tls,
    )
    match options.credentials:
        case None:
            return settings
        case Credentials() as credentials:
            return settings.with_credentials(credentials)
        case function:
            return replace(settings, login=Login(function, asyncio.get_running_loop()))
