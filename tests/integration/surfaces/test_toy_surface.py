"""A new kind of surface is provisioned, permitted, started and stopped without an edit anywhere else.

The toy is a notice board: a stream that keeps the newest notice of a service, which a worker reads while it runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar, Final

import pytest
from trellis_nats import (
    RUNTIME_API,
    ConfigurationError,
    Contract,
    Permissions,
    PermissionsMissing,
    ProvisioningError,
    Runtime,
    Service,
    permissions,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.binding import Binding
from trellis_nats.grants import Grant, Probe, Role, publish, subscribe
from trellis_nats.provision import Requirement, StreamRequirement
from trellis_nats.surface import Surface
from trellis_nats.testing import NatsServer
from typing_extensions import override

from tests.support.depot import accounts, login
from tests.support.eventually import eventually

STREAM: Final = "NOTICES"
SUBJECT: Final = "notices.town"
SOON: Final = timedelta(seconds=5)


class NoticeBoard(Surface):
    """Keeps the notices that arrive while the service runs."""

    def __init__(self, runtime: Runtime) -> None:
        self.notices: list[str] = []
        self.runtime = runtime
        self._subscription: Subscription | None = None
        runtime.register(self)

    @override
    def requirements(self, binding: Binding) -> Iterator[Requirement]:
        yield StreamRequirement(
            name=STREAM,
            config={"subjects": ["notices.*"], "retention": "limits", "storage": "memory", "max_msgs": 1},
        )

    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        if role in {"worker", "producer"}:
            yield publish(SUBJECT, "post notices", probe=Probe.WRONG_STREAM)
        if role == "worker":
            yield subscribe(SUBJECT, "read notices")

    @override
    async def start(self) -> None:
        self._subscription = self.runtime.connection.subscribe(SUBJECT, self._read)
        await self.runtime.connection.flush()

    @override
    async def stop(self, grace: GracePeriod) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.unsubscribe()

    def _read(self, message: Message) -> None:
        self.notices.append(message.data.decode())


class Town(Service):
    """A service that has a notice board and nothing else."""

    contract: ClassVar[Contract] = Contract(
        id="town@v1", digest="z" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.board: Final = NoticeBoard(runtime)


@pytest.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    opened = await Connection.open(nats_server.url, settings=ConnectionSettings())
    yield opened
    await opened.close()


def cut(allowed: Permissions) -> Permissions:
    """Take away the permission to read notices."""
    return replace(allowed, subscribe=tuple(subject for subject in allowed.subscribe if subject != SUBJECT))


async def test_a_new_surface_is_provisioned(nats_server: NatsServer, connection: Connection) -> None:
    assert await get_stream_info(connection, STREAM) is None

    async with Town.connect(nats_server.url):
        info = await get_stream_info(connection, STREAM)

    assert info is not None
    config = info["config"]
    assert isinstance(config, dict)
    assert (config["subjects"], config["storage"], config["num_replicas"]) == (["notices.*"], "memory", 1)


async def test_what_a_new_surface_requires_is_verified(nats_server: NatsServer) -> None:
    async with Town.connect(nats_server.url):
        pass
    given = Binding()  # a control plane provisions: the service only verifies

    async with Town.connect(nats_server.url, binding=given):
        pass
    with NatsServer() as empty, pytest.raises(ProvisioningError, match='stream "NOTICES" does not exist'):
        async with Town.connect(empty.url, binding=given):
            pass


async def test_a_new_surface_starts_and_stops_with_its_service(
    nats_server: NatsServer, connection: Connection
) -> None:
    async with Town.connect(nats_server.url) as town:
        await publish_acked(connection, SUBJECT, b"before the start")
        await town.start()
        await publish_acked(connection, SUBJECT, b"while it runs")
        await eventually(lambda: town.board.notices)
        await town.stop()
        await publish_acked(connection, SUBJECT, b"after the stop")
        await connection.flush()

    assert town.board.notices == ["while it runs"]


def test_a_new_surface_is_part_of_the_roles() -> None:
    worker, producer = permissions(Town, "worker"), permissions(Town, "producer")
    provisioner = permissions(Town, "provisioner")

    assert worker == Permissions(publish=(SUBJECT,), subscribe=("_INBOX_town.>", SUBJECT))
    assert producer == Permissions(publish=(SUBJECT,), subscribe=("_INBOX_town.>",))
    assert provisioner.publish == ("$JS.API.STREAM.INFO.NOTICES", "$JS.API.STREAM.CREATE.NOTICES")
    assert permissions(Town, "operator").publish == ("$JS.API.STREAM.INFO.NOTICES",)


async def test_the_roles_of_a_new_surface_are_enough() -> None:
    users: dict[str, Permissions | None] = {
        role: permissions(Town, role) for role in ("provisioner", "worker", "producer")
    }
    async with NatsServer(config=accounts(users)) as server:
        async with Town.connect(server.url, options=login("provisioner")):
            pass
        user = "producer"
        producer = await Connection.open(
            server.url,
            settings=ConnectionSettings(user=user, password=user, inbox_prefix="_INBOX_town"),
        )
        async with Town.connect(server.url, options=login("worker")) as town:
            await town.start()
            await publish_acked(producer, SUBJECT, b"a lost cat", timeout=SOON)
            assert await eventually(lambda: town.board.notices) == ["a lost cat"]
        await producer.close()


async def test_a_permission_that_a_new_surface_lacks_is_named_at_the_start() -> None:
    users = {"provisioner": permissions(Town, "provisioner"), "cut": cut(permissions(Town, "worker"))}
    async with NatsServer(config=accounts(users)) as server:
        async with Town.connect(server.url, options=login("provisioner")):
            pass
        async with Town.connect(server.url, options=login("cut")) as town:
            with pytest.raises(PermissionsMissing) as refused:
                await town.start()
            assert not (await town.health.report()).ready

    assert refused.value.missing == ('subscribe to "notices.town" (to read notices)',)
    assert town.board.notices == []


async def test_a_surface_that_comes_after_the_connection_is_refused(nats_server: NatsServer) -> None:
    async with Town.connect(nats_server.url) as town:
        with pytest.raises(ConfigurationError, match="create its surfaces before"):
            NoticeBoard(town.board.runtime)
