"""What other clients may put into subjects and headers never ends a connection."""

from __future__ import annotations

import asyncio

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.integration.nats.conftest import QUICK
from tests.support.audit import AuditService
from tests.support.orders import (
    ORDERS_CREATE,
    REQUEST,
    Moved,
    Order,
    OrdersClient,
    OrdersService,
    Shipped,
    greet,
)
from tests.support.raw_publisher import raw_publisher

TOKENS = [b"\xff", b"a\x0bb", b"a\x0cb", b"\x00", b"\x1b[31m", "\x85".encode(), b"*", b"x" * 3000]
BLOCKS = [
    b"NATS/1.0 " + b"9" * 5000 + b"\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0\r\n" + b"a" * 50_000 + b": b\r\n\r\n",
    b"NATS/1.0\r\na: 1\r\na: 2\r\n: 3\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\n\xff: \xff\r\n\r\n",
    b"NATS/1.0\r\n",
    b"no headers",
]


async def test_every_message_arrives_on_the_first_link(nats_server: NatsServer) -> None:
    received: list[Message] = []
    done = asyncio.Event()
    connection = await Connection.open(nats_server.url, settings=QUICK)
    connection.subscribe("in.>", received.append)
    connection.subscribe("done", lambda _: done.set())
    await connection.flush()

    with LogSignals() as signals:
        async with raw_publisher(nats_server) as raw:
            for token in TOKENS:
                raw.publish(b"in." + token, b"body", reply=b"out." + token[:1000])
            for block in BLOCKS:
                raw.publish(b"in.headers", b"body", headers=block)
            raw.publish(b"done", b"")
            await raw.flush()
        async with asyncio.timeout(10):
            await done.wait()
    await connection.close()

    assert [message.data for message in received] == [b"body"] * (len(TOKENS) + len(BLOCKS))
    assert [message.subject for message in received][:2] == ["in.\ufffd", "in.a\x0bb"]
    assert not signals.of(LogEvent.CONNECTION_LOST)


@pytest.mark.parametrize("token", TOKENS, ids=[repr(token[:8]) for token in TOKENS])
async def test_an_event_with_such_a_subject_does_not_stop_a_group(
    nats_server: NatsServer, token: bytes
) -> None:
    handled = asyncio.Event()

    async def ignore(_: object) -> None:
        pass

    async def finish(_: object) -> None:
        handled.set()

    async with AuditService.connect(nats_server.url) as service, raw_publisher(nats_server) as raw:
        service.audit.moved.handle(ignore)
        service.audit.shipped.handle(finish)
        await service.start()
        with LogSignals() as signals:
            raw.publish(b"events.v1.Orders.Moved." + token, b'{"orderId":"o1","region":"eu"}')
            await raw.flush()
            await service.moved.publish(Moved(order_id="o2", region="eu"))
            await service.shipped.publish(Shipped(order_id="o3"))
            async with asyncio.timeout(10):
                await handled.wait()
            assert not signals.of(LogEvent.CONNECTION_LOST)


@pytest.mark.parametrize("token", TOKENS, ids=[repr(token[:8]) for token in TOKENS])
async def test_a_call_with_such_a_reply_subject_does_not_stop_a_service(
    nats_server: NatsServer, token: bytes
) -> None:
    async with (
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
        raw_publisher(nats_server) as raw,
    ):
        service.create.handle(greet)
        await service.start()
        with LogSignals() as signals:
            raw.publish(ORDERS_CREATE.subject.encode(), b'{"customerId":"c1"}', reply=b"_INBOX." + token)
            await raw.flush()
            assert (await client.create(REQUEST)).order_id == "c1-1"

    for event in (LogEvent.CONNECTION_LOST, LogEvent.CALLBACK_RAISED, LogEvent.INTERNAL_ERROR):
        assert not signals.of(event)


@pytest.mark.parametrize("status", ["404 Message Not Found", "408", "409 Consumer Deleted", "503"])
async def test_a_stored_value_with_a_status_is_read_like_any_other(
    nats_server: NatsServer, status: str
) -> None:
    """A publisher can store a message whose headers begin with the status of an answer that says that there is none."""
    async with OrdersService.connect(nats_server.url) as service, raw_publisher(nats_server) as raw:
        await service.orders.put("first", Order(order_id="o1"))
        headers = f"NATS/1.0 {status}\r\n\r\n".encode()
        raw.publish(b"$KV.orders-service_orders.foreign", b'{"orderId":"o2"}', headers=headers)
        await raw.flush()
        await service.orders.put("last", Order(order_id="o3"))

        found = await service.orders.get("foreign")
        assert found is not None
        assert found.value == Order(order_id="o2")
        assert await service.orders.keys() == ["first", "foreign", "last"]
        assert [entry.key for entry in await service.orders.history("foreign")] == ["foreign"]
