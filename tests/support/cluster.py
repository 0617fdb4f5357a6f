"""Three servers of one cluster on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import TransportError
from trellis_nats.testing import NatsServer

_SERVERS = 3


@dataclass(frozen=True)
class Cluster:
    """Its servers, by the names n0, n1 and n2."""

    servers: dict[str, NatsServer]

    @property
    def url(self) -> str:
        """All addresses."""
        return ",".join(server.url for server in self.servers.values())


@asynccontextmanager
async def running_cluster() -> AsyncGenerator[Cluster, None]:
    """Run a cluster until the end of the block; it has a leader when the block begins."""
    ports = [_free_port() for _ in range(_SERVERS)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    servers = {
        f"n{number}": NatsServer(
            config=f'server_name: n{number}\ncluster {{ name: test, listen: "127.0.0.1:{port}", routes: [{routes}] }}'
        )
        for number, port in enumerate(ports)
    }
    try:
        for server in servers.values():
            server.start()
        cluster = Cluster(servers)
        await _leader(cluster)
        yield cluster
    finally:
        for server in servers.values():
            server.stop()


async def _leader(cluster: Cluster) -> None:
    connection = await Connection.open(cluster.url, settings=ConnectionSettings())
    while True:
        try:
            await call(connection, "INFO")
        except TransportError:
            await asyncio.sleep(0.1)
        else:
            break
    await connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
