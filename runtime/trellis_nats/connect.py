"""Opens and closes the connection of a service or a client, and sees that what they need is there."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import supports_fence
from trellis_nats._nats.link.servers import parse_servers
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import ConfigurationError, PermissionDenied, PermissionsMissing
from trellis_nats.options import Credentials, Options
from trellis_nats.permissions import inbox_prefix, require_rights
from trellis_nats.provision import provision, requirements_of
from trellis_nats.runtime import Runtime

__all__ = ["open_runtime"]

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_runtime(runtime: Runtime, url: str, *, provisioned: bool) -> AsyncGenerator[None]:
    """Give a runtime its connection for the length of an `async with` block.

    Raises:
        ConfigurationError: the URL may not be used this way.
        CannotConnect: the server cannot be reached, or refuses the credentials.
        PermissionsMissing: the account may not hear its answers.
        ProvisioningError: streams, consumers or buckets are missing or differ.
    """
    refuse_unsigned(url, runtime.options)
    inbox = inbox_prefix(runtime, is_client=not provisioned)
    try:
        connection = await Connection.open(url, settings=_settings(runtime, inbox))
    except PermissionDenied as denial:
        raise PermissionsMissing([f'{denial.operation} "{inbox}.>" (to be answered)']) from denial
    try:
        runtime.attach(connection)
        if provisioned:
            runtime.before_start(lambda: require_rights(runtime))
            await provision(
                connection,
                requirements_of(
                    runtime.binding, events=bool(runtime.events), replicas=_replicas(runtime, connection)
                ),
                create=runtime.options.provision and not runtime.has_given_binding,
            )
            _warn_without_fences(runtime, connection)
        yield
    finally:
        await connection.close()


def _warn_without_fences(runtime: Runtime, connection: Connection) -> None:
    if runtime.queues and not supports_fence(connection):
        _log.warning(
            "nats-server %s does not fence job events: of two writers at the same instant both are stored, and "
            "readers go by the first one; servers from 2.11 on refuse the second",
            ".".join(map(str, connection.server_version)),
        )


def refuse_unsigned(url: str, options: Options) -> None:
    """Refuse to serve and call without signatures on another machine, unless that was asked for by name.

    Raises:
        ConfigurationError: it was not, or an address is malformed.
    """
    for each in parse_servers(url, ConnectionSettings())[0].configured:
        host = urlsplit(each).hostname or ""
        if not options.open and not _is_loopback(host):
            raise ConfigurationError(
                f'"{host}" is not this machine, and requests are not signed: anyone who may publish there would be '
                "served; say Options(open=True) if that is meant"
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _replicas(runtime: Runtime, connection: Connection) -> int:
    return runtime.options.replicas or (3 if connection.server_count >= 3 else 1)  # noqa: PLR2004 - jobs.md, "Streams"


def _settings(runtime: Runtime, inbox: str) -> ConnectionSettings:
    options = runtime.options
    login = options.credentials or Credentials()
    return ConnectionSettings(
        name=f"{runtime.contract.id} {runtime.instance_id}",
        inbox_prefix=inbox,
        connect_timeout=options.connect_timeout,
        user=login.user,
        password=login.password,
        token=login.token,
        credentials=login.file,
        nkey_seed=login.nkey_seed_file,
        tls=options.tls,
    )
