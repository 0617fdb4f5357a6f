"""Runs nats-servers with JetStream on loopback until they are stopped."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import ConfigurationError, TransportError
from trellis_nats.testing import NatsServer

__all__ = ["LocalServers"]

_LOOPBACK: Final = "127.0.0.1"
_READY: Final = timedelta(seconds=30)
"""How long a cluster may take to elect its leader: it takes one to three seconds on an idle machine."""
_POLL: Final = timedelta(milliseconds=100)
_ALWAYS: Final = "sync_interval: always"
"""A single server that keeps its store loses nothing in a power cut (docs/guides/operating.md)."""


class LocalServers:
    """One nats-server, or a cluster of them. Use it with `with`."""

    def __init__(self, *, count: int = 1, port: int = 4222, folder: Path | None = None) -> None:
        """Configure the servers; entering the block runs them.

        Args:
            count: how many servers; more than one are a cluster.
            port: the port of the first server, the others take the next ones; 0: free ports.
            folder: where JetStream keeps its files; None: in a folder that is removed at the end.
        """
        self._count = count
        self._port = port
        self._folder = folder
        self._servers: list[NatsServer] = []
        self._ended = ExitStack()
        self.version = ""
        """The version of nats-server."""

    @property
    def urls(self) -> list[str]:
        """The address of each server."""
        return [server.url for server in self._servers]

    def find_ended(self) -> str | None:
        """Return the end of the log of a server that has ended without being stopped; None while all of them run."""
        for server in self._servers:
            if not server.is_running:
                return server.log[-2000:]
        return None

    def __enter__(self) -> Self:
        """Start the servers, and return when JetStream answers.

        Raises:
            ConfigurationError: a port or the folder is in use, or nats-server is not installed or does not start.
        """
        try:
            if self._folder is not None:
                self._lock(self._folder)
            ports = [self._take_port(number) for number in range(self._count)]
            routes = [_free_port() for _ in ports] if self._count > 1 else []
            for number, port in enumerate(ports):
                server = self._configure(number, port, routes)
                self._servers.append(server)
                server.start()
            asyncio.run(self._await_jetstream())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for server in self._servers:
            if self._folder is not None:
                server.terminate()
            server.stop()
        self._servers = []
        self._ended.close()

    def _configure(self, number: int, port: int, routes: list[int]) -> NatsServer:
        lines = [f"server_name: n{number + 1}"]
        if routes:
            known = ", ".join(f'"nats://{_LOOPBACK}:{route}"' for route in routes)
            lines.append(
                f'cluster {{ name: local, listen: "{_LOOPBACK}:{routes[number]}", routes: [{known}] }}'
            )
        if self._folder is not None:
            store = self._folder / (f"n{number + 1}-of-{self._count}")
            sync = "" if routes else _ALWAYS
            lines.append(f'jetstream {{ store_dir: "{store}"\n{sync} }}')
        return NatsServer(config="\n".join(lines), port=port or None, jetstream=self._folder is None)

    def _take_port(self, number: int) -> int:
        if not self._port:
            return 0
        port = self._port + number
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_LOOPBACK, port))
            except (OSError, OverflowError):
                raise ConfigurationError(
                    f"port {port} is in use: perhaps a nats-server runs already. Pass another --port, or --port 0 for a free one"
                ) from None
        return port

    def _lock(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"{folder} cannot be used: {error.strerror}") from None
        self._ended.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(f"{folder} is in use by another `trellis up`") from None

    async def _await_jetstream(self) -> None:
        connection = await Connection.open(",".join(self.urls), settings=ConnectionSettings())
        try:
            self.version = ".".join(map(str, connection.server_version))
            async with asyncio.timeout(_READY.total_seconds()):
                while True:
                    try:
                        await call(connection, "INFO", timeout=timedelta(seconds=1))
                    except TransportError:
                        await asyncio.sleep(_POLL.total_seconds())
                    else:
                        return
        except TimeoutError:
            raise ConfigurationError(
                f"JetStream did not answer within {_READY.total_seconds():.0f} s; the log of the first server ends with: "
                f"{self._servers[0].log[-500:]}"
            ) from None
        finally:
            await connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
