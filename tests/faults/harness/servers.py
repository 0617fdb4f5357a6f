"""Servers, as scenarios need them: whose leader is where, and another version on the same store."""

from __future__ import annotations

from pathlib import Path

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.errors import TransportError
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually

__all__ = ["ChangingServer", "leader_of"]


async def leader_of(connection: Connection, stream: str) -> str:
    """Return the name of the server that leads a stream, as soon as one does."""

    async def leader() -> str:
        try:
            info = await get_stream_info(connection, stream)
        except TransportError:
            return ""
        cluster = None if info is None else info.get("cluster")
        return str(cluster.get("leader") or "") if isinstance(cluster, dict) else ""

    return await eventually(leader)


class ChangingServer:
    """One address and one store, and one version of the server after another."""

    def __init__(self, folder: Path) -> None:
        self._store = f'jetstream {{ store_dir: "{folder}" }}'
        self._server: NatsServer | None = None
        self._port: int | None = None

    def run(self, binary: Path | None) -> str:
        """Run a version, the newest for None, in place of the one that runs; return the address."""
        self.stop()
        self._server = NatsServer(config=self._store, port=self._port, binary=binary, jetstream=False).start()
        self._port = self._server.port
        return self._server.url

    def stop(self) -> None:
        """End the one that runs; its store stays."""
        if self._server is not None:
            self._server.stop()
        self._server = None
