"""A service and a device whose contracts use `Health.Heartbeat`, and what listens to them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar, Final

from trellis_nats import RUNTIME_API, Client, Contract, Maintenance, Options, RpcEndpoint, Runtime, Service
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.options import Provision

from tests.support.orders import ORDERS_CREATE, CreateRequest, CreateResponse

__all__ = ["HEARTBEAT", "Beacon", "BeaconClient", "BeaconDevice", "Listener", "beating", "listening"]

HEARTBEAT: Final = "events.v1.Health.Heartbeat"
CONTRACT: Final = Contract(
    id="tower.beacon@v1", digest="b" * 43, generator="0", runtime_api=RUNTIME_API, has_heartbeats=True
)


class Beacon(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.create: Final = RpcEndpoint[CreateRequest, CreateResponse](runtime, ORDERS_CREATE)


class BeaconClient(Client):
    """Another program that uses the service: it has no heartbeats of its own."""

    contract: ClassVar[Contract] = CONTRACT


class BeaconDevice(Client):
    """A device with heartbeats of its own."""

    contract: ClassVar[Contract] = Contract(
        id="buoy@v2",
        digest="d" * 43,
        generator="0",
        runtime_api=RUNTIME_API,
        kind="device",
        has_heartbeats=True,
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime


class Listener:
    """A subscription to the heartbeats."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.messages: list[Message] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of the heartbeats that arrived."""
        return [json.loads(message.data) for message in self.messages]

    @property
    def newest(self) -> dict[str, Any]:
        """The body of the last one; before the first, one without checks."""
        return self.bodies[-1] if self.messages else {"status": None, "checks": []}


@asynccontextmanager
async def listening(url: str) -> AsyncGenerator[Listener]:
    """Listen to the heartbeats."""
    connection = await Connection.open(url, settings=ConnectionSettings())
    listener = Listener(connection)
    connection.subscribe(HEARTBEAT, listener.messages.append)
    await connection.flush()
    yield listener
    await connection.close()


def beating(every: timedelta = timedelta(milliseconds=20), *, provision: Provision = "create") -> Options:
    """Return options with frequent heartbeats, which do not wait long for a server."""
    return Options(
        maintenance=Maintenance(heartbeat_every=every),
        request_timeout=timedelta(milliseconds=500),
        provision=provision,
    )
