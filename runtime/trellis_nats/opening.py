"""Opens and closes the connection of a service or a client, and sees that what they need is there."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.publish import supports_fence
from trellis_nats._nats.settings import ConnectionSettings
from trellis_nats.clock import from_milliseconds
from trellis_nats.errors import ConfigurationError
from trellis_nats.options import Credentials, Options
from trellis_nats.provision import BucketNeed, QueueNeed, Requirements, provision
from trellis_nats.runtime import Runtime

__all__ = ["opened"]

_log = logging.getLogger(__name__)


@asynccontextmanager
async def opened(runtime: Runtime, url: str, *, provisioned: bool) -> AsyncGenerator[None]:
    """Give a runtime its connection for the length of an `async with` block.

    Raises:
        ConfigurationError: the URL may not be used this way.
        CannotConnect: the server cannot be reached, or refuses the credentials.
        ProvisioningError: streams, consumers or buckets are missing or differ.
    """
    refuse_unsigned(url, runtime.options)
    connection = await Connection.open(url, settings=_settings(runtime))
    try:
        runtime.attach(connection)
        if provisioned:
            await provision(
                connection,
                _requirements(runtime, connection),
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
        ConfigurationError: it was not.
    """
    for each in url.split(","):
        host = urlsplit(each if "://" in each else f"nats://{each}").hostname or ""
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


def _settings(runtime: Runtime) -> ConnectionSettings:
    options = runtime.options
    login = options.credentials or Credentials()
    return ConnectionSettings(
        name=f"{runtime.contract.id} {runtime.instance_id}",
        inbox_prefix=f"_INBOX_{runtime.contract.name}",
        connect_timeout=options.connect_timeout,
        user=login.user,
        password=login.password,
        token=login.token,
        credentials=login.file,
        nkey_seed=login.nkey_seed_file,
        tls=options.tls,
    )


def _requirements(runtime: Runtime, connection: Connection) -> Requirements:
    binding, options = runtime.binding, runtime.options
    queues = () if binding.jobs is None else tuple(binding.jobs.queues.values())
    replicas = options.replicas or (3 if connection.server_count >= 3 else 1)  # noqa: PLR2004 - jobs.md, "Streams"
    return Requirements(
        queues=tuple(
            QueueNeed(consumer=each.consumer_name, work_subject=each.work_subject, ack_wait=each.ack_wait)
            for each in queues
        ),
        buckets=(
            *(
                BucketNeed(
                    bucket=each.bucket,
                    history=each.history,
                    ttl=from_milliseconds(each.ttl_ms),
                    max_value_bytes=each.max_value_bytes,
                )
                for each in binding.kv.values()
            ),
            *(() if binding.jobs is None else (BucketNeed(bucket=binding.jobs.keys_bucket),)),
        ),
        events=bool(runtime.events),
        replicas=replicas,
    )
