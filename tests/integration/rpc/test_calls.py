"""Calls that are answered, and how the load is shared."""

import asyncio
import logging
from datetime import timedelta

import pytest
from trellis_nats import (
    NoResponders,
    RequestTimeout,
    RpcContext,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.orders import (
    CONTRACT,
    REQUEST,
    CreateRequest,
    CreateResponse,
    OrdersClient,
    OrdersService,
    greet,
    raw_call,
)
from tests.support.proxy import Proxy


async def test_a_call_gets_its_typed_response(nats_server: NatsServer) -> None:
    async with (
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
    ):
        service.create.handle(greet)
        await service.start()

        response = await client.create(REQUEST)

    assert response == CreateResponse(order_id="c1-1")


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(seconds=-1)])
async def test_a_call_whose_time_is_over_is_not_sent(nats_server: NatsServer, timeout: timedelta) -> None:
    async with OrdersClient.connect(nats_server.url) as client:
        # A call that is sent finds that no process serves it.
        with pytest.raises(RequestTimeout, match="nothing was sent"):
            await client.create(REQUEST, timeout=timeout)


async def test_a_success_is_bare_json_without_a_header(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        service.create.handle(greet)
        await service.start()

        answer = await raw_call(nats_server, b'{"customerId":"c1","items":[],"unknown":1}')

    assert answer.data == b'{"orderId":"c1-0"}'
    assert dict(answer.headers) == {"trellis-contract-digest": CONTRACT.digest}


async def test_a_call_carries_its_request_trace_and_timeout(nats_server: NatsServer) -> None:
    seen: list[Message] = []
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    async with OrdersClient.connect(nats_server.url) as client:
        connection.subscribe("rpc.v1.Orders.Create", seen.append)
        await connection.flush()

        call = asyncio.create_task(client.create(REQUEST, timeout=timedelta(milliseconds=1500)))
        while not seen:
            await connection.flush()
        call.cancel()
    await connection.close()

    assert seen[0].data == b'{"customerId":"c1","items":[{"productId":"p1","quantity":2}]}'
    assert set(seen[0].headers) == {
        "request-id",
        "traceparent",
        "trellis-contract-digest",
        "trellis-timeout-ms",
    }
    assert seen[0].headers["trellis-contract-digest"] == CONTRACT.digest
    assert len(seen[0].headers["request-id"]) == 26
    assert 1000 < int(seen[0].headers["trellis-timeout-ms"]) <= 1500
    assert seen[0].reply.startswith("_INBOX_orders-service.")


async def test_the_handler_gets_the_context_of_its_call(nats_server: NatsServer) -> None:
    contexts: list[RpcContext] = []
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async with OrdersService.connect(nats_server.url) as service:

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            contexts.append(context)
            return await greet(context, request)

        await service.start()
        headers = {"request-id": "r1", "traceparent": traceparent, "tracestate": "a=b", "x-more": "yes"}
        await raw_call(nats_server, b'{"customerId":"c1"}', headers | {"trellis-timeout-ms": "60000"})
        await raw_call(nats_server, b'{"customerId":"c1"}')

    complete, bare = contexts
    assert (complete.request_id, complete.trace_id) == ("r1", "0af7651916cd43dd8448eb211c80319c")
    assert (complete.traceparent, complete.tracestate, complete.headers["x-more"]) == (
        traceparent,
        "a=b",
        "yes",
    )
    assert complete.deadline is not None
    assert timedelta(seconds=50) < complete.deadline - now() < timedelta(seconds=60)
    assert bare.deadline is None
    assert (len(bare.request_id), len(bare.trace_id)) == (26, 32)


async def test_a_call_made_by_a_handler_stays_in_its_trace_with_an_id_of_its_own(
    nats_server: NatsServer,
) -> None:
    contexts: list[RpcContext] = []

    async with (
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
    ):

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            contexts.append(context)
            return await service.call_peek(request)

        @service.peek.handle
        async def peek(context: RpcContext, request: CreateRequest) -> CreateResponse:
            contexts.append(context)
            return await greet(context, request)

        await service.start()
        await client.create(REQUEST)

    outer, inner = contexts
    assert outer.trace_id == inner.trace_id
    assert outer.request_id != inner.request_id


async def test_a_call_without_a_server_is_sent_three_times_and_then_fails(nats_server: NatsServer) -> None:
    async with (
        Proxy(nats_server.port) as proxy,
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(proxy.url) as client,
    ):

        def count_calls() -> int:
            return bytes(proxy.sent_to_server).count(b"HPUB rpc.v1.Orders.Create ")

        service.create.handle(greet)
        with pytest.raises(NoResponders, match=r"rpc.v1.Orders.Create"):
            await client.create(REQUEST)
        assert count_calls() == 3

        call = asyncio.create_task(client.create(REQUEST))
        await eventually(lambda: count_calls() == 4)
        proxy.blackhole("to_server")  # the next one arrives when the service has started
        await service.start()
        proxy.heal()

        assert await call == CreateResponse(order_id="c1-1")


async def test_a_call_without_a_safe_reply_subject_is_ignored(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    stolen: list[Message] = []

    caplog.set_level(logging.DEBUG, logger="trellis_nats")  # of one kind, one line a second is above it
    async with OrdersService.connect(nats_server.url) as service:
        service.create.handle(greet)
        await service.start()
        connection.subscribe("events.v1.Orders.Shipped", stolen.append)
        for reply in ("", "events.v1.Orders.Shipped"):
            await connection.publish("rpc.v1.Orders.Create", b'{"customerId":"c1"}', reply=reply)
        await raw_call(nats_server, b'{"customerId":"c1"}')
        await connection.flush()
    await connection.close()

    assert stolen == []
    assert 'rpc "Orders.Create": ignored a call that wants its reply on ""' in caplog.text
    assert 'ignored a call that wants its reply on "events.v1.Orders.Shipped"' in caplog.text
