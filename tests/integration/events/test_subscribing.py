"""Events on their way to subscribers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from trellis_nats import PermissionDenied, RequestTimeout, RpcContext
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.events import source as event_source
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.orders import (
    REQUEST,
    CreateRequest,
    CreateResponse,
    Moved,
    OrdersClient,
    OrdersService,
    Shipped,
    greet,
)
from tests.support.proxy import Proxy


@pytest.fixture
async def service(nats_server: NatsServer) -> AsyncIterator[OrdersService]:
    async with OrdersService.connect(nats_server.url) as connected:
        yield connected


@pytest.fixture
async def client(nats_server: NatsServer, service: OrdersService) -> AsyncIterator[OrdersClient]:
    async with OrdersClient.connect(nats_server.url) as connected:
        yield connected


async def test_a_subscriber_gets_the_event_as_it_was_published(
    service: OrdersService, client: OrdersClient
) -> None:
    async with client.shipped.subscribe() as events:
        published = await service.shipped.publish(Shipped(order_id="o1"))
        received = await anext(events)

    assert received.event == Shipped(order_id="o1")
    assert (received.id, received.time) == (published.id, published.time)
    assert received.subject == "events.v1.Orders.Shipped"


async def test_the_service_can_subscribe_to_its_own_events(service: OrdersService) -> None:
    async with service.shipped.subscribe() as events:
        await service.shipped.publish(Shipped(order_id="o1"))

        assert (await anext(events)).event == Shipped(order_id="o1")


async def test_events_of_every_value_arrive_in_order(service: OrdersService, client: OrdersClient) -> None:
    async with client.moved.subscribe() as events:
        for region in ("eu", "us east.1", ""):
            await service.moved.publish(Moved(order_id="o1", region=region))

        received = [await anext(events) for _ in range(3)]

    assert [event.event.region for event in received] == ["eu", "us east.1", ""]
    assert received[1].subject == "events.v1.Orders.Moved.us~20~east~2E~1"


async def test_an_event_carries_the_request_that_caused_it(
    service: OrdersService, client: OrdersClient
) -> None:
    contexts: list[RpcContext] = []

    @service.create.handle
    async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
        contexts.append(context)
        await service.shipped.publish(Shipped(order_id="o1"))
        return await greet(context, request)

    await service.start()
    async with client.shipped.subscribe() as events:
        await client.create(REQUEST)
        received = await anext(events)

    assert received.context.request_id == contexts[0].request_id
    assert received.context.traceparent == contexts[0].traceparent


async def test_an_event_that_breaks_its_schema_is_skipped_and_logged(
    nats_server: NatsServer, service: OrdersService, client: OrdersClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="trellis_nats")  # of one kind, one line a second is above it
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    async with client.shipped.subscribe() as events:
        for data in (b"", b"\xff", b"[]", b'{"orderId":"secret value","orderId":7}'):
            await connection.publish("events.v1.Orders.Shipped", data)
        await connection.flush()
        await service.shipped.publish(Shipped(order_id="o2"))
        received = await anext(events)
    await connection.close()

    assert received.event == Shipped(order_id="o2")
    assert caplog.text.count("skipped an event on") == 4
    assert [record.levelname for record in caplog.records if "skipped an event" in record.message] == [
        "WARNING",
        *["DEBUG"] * 3,
    ]
    assert "#/orderId" in caplog.text
    assert "secret value" not in caplog.text


async def test_a_slow_reader_loses_the_oldest_events_and_sees_how_many(
    service: OrdersService,
    client: OrdersClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(event_source, "_MESSAGES_MAX", 2)
    async with client.shipped.subscribe() as events:
        for number in range(5):
            await service.shipped.publish(Shipped(order_id=f"o{number}"))
        await eventually(lambda: events.dropped == 3)

        received = [(await anext(events)).event.order_id for _ in range(2)]

    assert received == ["o3", "o4"]
    assert 'event "Orders.Shipped": the reader is too slow' in caplog.text


async def test_many_subscribers_of_a_process_do_not_cut_its_connection() -> None:
    with NatsServer(config="max_pending: 4MB") as server:
        async with (
            OrdersService.connect(server.url) as service,
            OrdersClient.connect(server.url) as client,
            AsyncExitStack() as stack,
            asyncio.timeout(20),
        ):
            subscribers = [await stack.enter_async_context(client.shipped.subscribe()) for _ in range(200)]
            for name in "ab":
                await service.shipped.publish(Shipped(order_id=name * 100_000))

            received = [[(await anext(events)).event.order_id[0] for _ in "ab"] for events in subscribers]
    assert received == [["a", "b"]] * 200


async def test_a_subscriber_that_leaves_does_not_end_the_others(
    service: OrdersService, client: OrdersClient
) -> None:
    async with client.shipped.subscribe() as stays:
        async with client.shipped.subscribe():
            pass
        await service.shipped.publish(Shipped(order_id="o1"))
        assert (await anext(stays)).event.order_id == "o1"
    async with client.shipped.subscribe() as again:
        await service.shipped.publish(Shipped(order_id="o2"))
        assert (await anext(again)).event.order_id == "o2"


async def test_subscribers_without_a_connection_wait_at_the_same_time(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection.flush, "__defaults__", (timedelta(seconds=0.5),))
    async with Proxy(nats_server.port) as proxy, OrdersClient.connect(proxy.url) as client:
        proxy.blackhole("to_client")
        async with asyncio.timeout(2):
            refused = await asyncio.gather(*map(subscribe, [client] * 10), return_exceptions=True)
        proxy.heal()
        await subscribe(client)

    assert list(map(type, refused)) == [RequestTimeout] * 10


async def test_a_subscription_survives_a_reconnect(nats_server: NatsServer, service: OrdersService) -> None:
    async with (
        Proxy(nats_server.port) as proxy,
        OrdersClient.connect(proxy.url) as client,
        client.shipped.subscribe() as events,
    ):
        with LogSignals() as signals:
            proxy.cut()
            await signals.wait_for(LogEvent.CONNECTION_LOST)

        async def is_received() -> bool:
            await service.shipped.publish(Shipped(order_id="o1"))
            try:
                async with asyncio.timeout(0.1):
                    return (await anext(events)).event == Shipped(order_id="o1")
            except TimeoutError:
                return False

        assert await eventually(is_received)


async def test_a_loop_in_another_task_ends_with_its_subscription(
    service: OrdersService, client: OrdersClient
) -> None:
    async with client.shipped.subscribe() as events:
        collecting = asyncio.create_task(collect(client_events=events))
        await service.shipped.publish(Shipped(order_id="o1"))
        await asyncio.sleep(0)

    assert await asyncio.wait_for(collecting, timedelta(seconds=5).total_seconds()) in ([], ["o1"])


async def collect(client_events: event_source.EventSubscription[Shipped]) -> list[str]:
    return [received.event.order_id async for received in client_events]


async def test_a_denied_subscription_raises_at_once() -> None:
    config = 'authorization { users = [ { user: a, password: b, permissions { subscribe { deny: "events.>" } } } ] }'
    with NatsServer(config=config) as server:
        async with OrdersClient.connect(server.url.replace("nats://", "nats://a:b@")) as client:
            with pytest.raises(PermissionDenied, match=r'may not subscribe to "events.v1.Orders.Shipped"'):
                async with client.shipped.subscribe():
                    pass
            refused = await asyncio.gather(*map(subscribe, [client] * 2), return_exceptions=True)

    assert list(map(type, refused)) == [PermissionDenied] * 2


async def subscribe(client: OrdersClient) -> None:
    async with client.shipped.subscribe():
        pass
