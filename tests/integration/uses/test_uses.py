"""Surfaces of other contracts: called, subscribed to and published by a service and by an app that use them."""

import logging
from dataclasses import replace
from typing import ClassVar, Final

import pytest
from trellis_nats import (
    RUNTIME_API,
    Binding,
    ConfigurationError,
    Contract,
    DeliveredEvent,
    FeedCall,
    NoResponders,
    Options,
    PermissionDenied,
    Runtime,
    Service,
    permissions,
)
from trellis_nats._nats.jetstream.streams import get_consumer_info, get_stream_info
from trellis_nats.testing import NatsServer

from tests.support.depot import accounts, login
from tests.support.desk import DeskApp, DeskService, OrdersUse
from tests.support.eventually import eventually
from tests.support.live import LIVE, Count, CountFrom, LiveService, Source
from tests.support.orders import REQUEST, Moved, OrdersClient, OrdersService, Shipped, greet

WITHOUT = Options(absent_uses=frozenset({"orders"}))


def orders_of(desk: DeskService | DeskApp) -> OrdersUse:
    orders = desk.uses.orders
    assert orders is not None
    return orders


async def ignore(event: DeliveredEvent[Shipped]) -> None:
    pass


async def ignore_second(event: DeliveredEvent[Moved]) -> None:
    pass


def register(desk: DeskService) -> None:
    desk.shipped.first.handle(ignore)
    desk.shipped.second.handle(ignore_second)


async def test_a_service_calls_subscribes_and_publishes(nats_server: NatsServer) -> None:
    async with (
        OrdersService.connect(nats_server.url) as owner,
        OrdersClient.connect(nats_server.url) as client,
        DeskService.connect(nats_server.url) as desk,
    ):
        owner.create.handle(greet)
        owner.peek.handle(greet)
        register(desk)
        await owner.start()
        await desk.start()
        orders = orders_of(desk)

        assert (await orders.create(REQUEST)).order_id == "c1-1"
        async with orders.moved.subscribe() as moved, client.shipped.subscribe() as shipped:
            await owner.moved.publish(Moved(order_id="1", region="eu"))
            await orders.shipped.publish(Shipped(order_id="2"))
            assert (await anext(moved)).event.region == "eu"
            assert (await anext(shipped)).event.order_id == "2"


async def test_an_app_does_the_same(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as owner, DeskApp.connect(nats_server.url) as app:
        with pytest.raises(NoResponders):
            await orders_of(app).create(REQUEST)
        async with owner.shipped.subscribe() as shipped:
            await orders_of(app).shipped.publish(Shipped(order_id="1"))
            assert (await anext(shipped)).event.order_id == "1"


async def test_a_client_needs_no_stream(nats_server: NatsServer) -> None:
    async with DeskApp.connect(nats_server.url) as app:
        assert await get_stream_info(app.runtime.connection, "trellis") is None


async def test_a_group_has_events_of_two_contracts_with_one_name(nats_server: NatsServer) -> None:
    seen: list[str] = []
    async with (
        OrdersService.connect(nats_server.url) as owner,
        DeskService.connect(nats_server.url) as desk,
    ):

        @desk.shipped.first.handle
        async def first(event: DeliveredEvent[Shipped]) -> None:
            seen.append(event.event.order_id)

        with pytest.raises(ConfigurationError, match=r'"shipped" has no handler for Orders\.Shipped'):
            await desk.start()
        await owner.shipped.publish(Shipped(order_id="1"))
    async with DeskService.connect(nats_server.url) as desk:
        desk.shipped.first.handle(first)
        desk.shipped.second.handle(ignore_second)
        await desk.start()
        await eventually(lambda: seen)
        info = await get_consumer_info(desk.runtime.connection, "trellis", "desk__shipped")

    assert seen == ["1"]
    assert info is not None
    assert info.config["filter_subjects"] == ["events.v1.Orders.Shipped", "events.v2.Orders.Shipped"]


async def test_an_optional_use_is_none_where_the_options_leave_it_out(nats_server: NatsServer) -> None:
    async with DeskService.connect(nats_server.url, options=WITHOUT) as desk:
        assert desk.uses.orders is None
        register(desk)
        await desk.start()


async def test_an_unknown_alias_in_the_options_is_refused(nats_server: NatsServer) -> None:
    options = Options(absent_uses=frozenset({"stock", "order"}))

    with pytest.raises(
        ConfigurationError, match="has order, stock, but the optional uses of desk@v1 are: orders"
    ):
        async with DeskService.connect(nats_server.url, options=options):
            pass
    with pytest.raises(ConfigurationError, match="the optional uses of orders-service@v1 are: none"):
        async with OrdersClient.connect(nats_server.url, options=options):
            pass


@pytest.mark.parametrize(
    ("granted", "is_there"), [(None, True), (frozenset({"orders"}), True), (frozenset({"others"}), False)]
)
def test_a_binding_may_state_which_optional_uses_are_granted(
    granted: frozenset[str] | None, *, is_there: bool
) -> None:
    needed = permissions(DeskService, "worker", binding=Binding(uses=granted))

    assert ("rpc.v1.Orders.Create" in needed.publish) == is_there
    assert "events.v2.Orders.Shipped" in needed.subscribe


def test_the_permissions_are_those_for_what_is_listed() -> None:
    worker, client = permissions(DeskService, "worker"), permissions(DeskApp, "client")
    provisioner = permissions(DeskService, "provisioner")

    used = {"rpc.v1.Orders.Create", "events.v1.Orders.Shipped", "events.v1.Orders.Moved.*"}
    assert {subject for subject in worker.publish if not subject.startswith("$JS")} == {
        *used,
        "trellis.probes.desk",
        "trellis.groups.desk__shipped",
    }
    assert used <= {*client.publish}
    assert {*client.subscribe} == {
        "_INBOX_desk.client.>",
        "events.v1.Orders.Moved.*",
        "events.v2.Orders.Shipped",
    }
    assert {subject for subject in provisioner.publish if ".CREATE." in subject} == {
        "$JS.API.STREAM.CREATE.trellis",
        "$JS.API.CONSUMER.CREATE.trellis.desk__shipped",
    }


async def test_a_service_starts_without_the_permissions_of_what_it_uses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="trellis_nats.permissions")
    worker = permissions(DeskService, "worker")
    users = {
        "root": None,
        "desk": worker,
        "limited": replace(
            worker,
            publish=tuple(
                subject for subject in worker.publish if not subject.startswith(("rpc.", "events."))
            ),
            subscribe=tuple(subject for subject in worker.subscribe if not subject.startswith("events.")),
        ),
        "orders": permissions(OrdersService, "worker"),
    }
    with NatsServer(config=accounts(users)) as server:
        async with (
            DeskService.connect(server.url, options=login("root")),
            OrdersService.connect(server.url, options=login("root")),
        ):
            pass
        async with (
            OrdersService.connect(server.url, options=login("orders")) as owner,
            DeskService.connect(server.url, options=login("desk")) as desk,
        ):
            owner.create.handle(greet)
            await owner.start()
            register(desk)
            await desk.start()
            assert (await orders_of(desk).create(REQUEST)).order_id == "c1-1"
            await orders_of(desk).moved.publish(Moved(order_id="1", region="eu"))
        async with DeskService.connect(server.url, options=login("limited")) as desk:
            register(desk)
            await desk.start()
            assert 'publish to "events.v1.Orders.Shipped" (to publish event Orders.Shipped)' in caplog.text
            with pytest.raises(PermissionDenied):
                await orders_of(desk).shipped.publish(Shipped(order_id="1"))
            with pytest.raises(PermissionDenied):
                await orders_of(desk).create(REQUEST)


class Watcher(Service):
    """A service that opens a feed of another one."""

    contract: ClassVar[Contract] = Contract(
        id="watcher@v1", digest="w" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.count: Final = FeedCall[CountFrom, Count](runtime, LIVE)


async def test_a_feed_of_another_service_is_opened_with_an_inbox_of_its_clients() -> None:
    """As the guide says: the service that serves a feed may publish below its own clients' inbox only."""
    prefix = "_INBOX_live.client.watcher"
    users = {
        "live": permissions(LiveService, "worker"),
        "watcher": permissions(Watcher, "worker", inbox_prefix=prefix),
    }
    source = Source()
    with NatsServer(config=accounts(users)) as server:
        async with (
            LiveService.connect(server.url, options=login("live")) as live,
            Watcher.connect(server.url, options=replace(login("watcher"), inbox_prefix=prefix)) as watcher,
        ):
            live.count.handle(source.handle)
            await live.start()
            async with watcher.count(CountFrom(customer="c1")) as events:
                await eventually(lambda: source.open)
                source.send(3)
                assert (await anext(events)).n == 3
