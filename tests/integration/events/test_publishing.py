"""Events on their way into the stream."""

import json
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from pydantic import JsonValue
from trellis_nats import (
    ConfigurationError,
    InvalidPayload,
    NoResponders,
    Options,
    PayloadTooLarge,
    WriteUnknown,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import StoredMessage, get_last_message_from_leader, get_stream_info
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats.clock import now
from trellis_nats.context import Context, within
from trellis_nats.testing import NatsServer

from tests.support.orders import CONTRACT, Moved, OrdersService, Shipped
from tests.support.proxy import Proxy

TRACED = Context(
    request_id="r1",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    tracestate="a=b",
)


async def stored(server: NatsServer) -> tuple[StoredMessage, int]:
    """Return the newest event, and how many there are."""
    connection = await Connection.open(server.url, settings=ConnectionSettings())
    try:
        message = await get_last_message_from_leader(connection, "trellis", "events.>")
        info = await get_stream_info(connection, "trellis")
        if message is None or info is None:
            raise AssertionError("nothing is stored")
        state = cast("dict[str, int]", info["state"])
        return message, state["messages"]
    finally:
        await connection.close()


async def test_an_event_is_stored_with_its_id_and_time(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        before = now()
        with within(TRACED):
            published = await service.shipped.publish(Shipped(order_id="o1"))

    message, count = await stored(nats_server)
    milliseconds = f"{published.time:%Y-%m-%dT%H:%M:%S}.{published.time.microsecond // 1000:03d}Z"
    assert (message.subject, message.sequence, count) == ("events.v1.Orders.Shipped", published.sequence, 1)
    assert dict(message.headers) == {
        "Nats-Msg-Id": published.id,
        "request-id": "r1",
        "traceparent": TRACED.traceparent,
        "tracestate": "a=b",
        "trellis-contract-digest": CONTRACT.digest,
    }
    assert message.data.decode() == (
        f'{{"orderId":"o1","header":{{"id":"{published.id}","time":"{milliseconds}"}}}}'
    )
    assert len(published.id) == 26
    assert before - timedelta(milliseconds=1) <= published.time <= datetime.now(UTC)


async def test_a_call_that_runs_again_publishes_the_same_event(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        first = await service.shipped.publish(Shipped(order_id="o1"), idempotency_key="job-1")
        again = await service.shipped.publish(Shipped(order_id="o1"), idempotency_key="job-1")
        moved = await service.moved.publish(Moved(order_id="o1", region="eu"), idempotency_key="job-1")
        with pytest.raises(ConfigurationError, match=r'event "Orders.Shipped": an idempotency key must not'):
            await service.shipped.publish(Shipped(order_id="o1"), idempotency_key="")

    message, count = await stored(nats_server)
    assert (again.id, again.sequence) == (first.id, first.sequence)
    assert moved.id != first.id
    assert (count, message.headers["Nats-Msg-Id"]) == (2, moved.id)


async def test_the_values_of_an_event_are_in_its_subject(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        await service.moved.publish(Moved(order_id="o1", region="us east.1"))

    message, _ = await stored(nats_server)
    body = cast("dict[str, JsonValue]", json.loads(message.data))
    assert message.subject == "events.v1.Orders.Moved.us~20~east~2E~1"
    assert (body["orderId"], body["region"]) == ("o1", "us east.1")


async def test_an_event_that_breaks_its_schema_is_not_sent(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        with pytest.raises(
            InvalidPayload, match=r'event "Orders.Shipped" does not match its schema: #/orderId'
        ):
            await service.shipped.publish(cast("Shipped", {"orderId": 7}))
        with pytest.raises(InvalidPayload, match="#: "):
            await service.shipped.publish(Shipped(order_id="\ud800"))
        with pytest.raises(PayloadTooLarge):
            await service.shipped.publish(Shipped(order_id="x" * 2_000_000))


async def test_an_event_whose_acknowledgement_is_lost_is_stored_once(nats_server: NatsServer) -> None:
    async with (
        Proxy(nats_server.port) as proxy,
        OrdersService.connect(
            proxy.url, options=Options(request_timeout=timedelta(milliseconds=300))
        ) as service,
    ):
        proxy.blackhole("to_client")
        with pytest.raises(WriteUnknown, match=r'event "Orders.Shipped"'):
            await service.shipped.publish(Shipped(order_id="o1"))
        proxy.heal()

    _, count = await stored(nats_server)
    assert bytes(proxy.sent_to_server).count(b'{"orderId":"o1"') == 3
    assert count == 1


async def test_a_publish_that_is_cut_off_succeeds_on_the_next_connection(nats_server: NatsServer) -> None:
    async with Proxy(nats_server.port) as proxy, OrdersService.connect(proxy.url) as service:
        for number in range(5):
            proxy.cut()
            await service.shipped.publish(Shipped(order_id=f"o{number}"))

    message, count = await stored(nats_server)
    assert count == 5
    assert b'"orderId":"o4"' in message.data


async def test_a_missing_stream_is_named(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
        await request(connection, "$JS.API.STREAM.DELETE.trellis", timeout=timedelta(seconds=2))
        await connection.close()

        with pytest.raises(NoResponders, match=r"events.v1.Orders.Shipped"):
            await service.shipped.publish(Shipped(order_id="o1"))
