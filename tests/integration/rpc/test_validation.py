"""Requests and responses that break their schema, at each end."""

from typing import cast

import pytest
from trellis_nats import (
    InvalidPayload,
    RpcContext,
    ValidationError,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import NatsServer

from tests.support.orders import (
    CONTRACT,
    REQUEST,
    CreateRequest,
    CreateResponse,
    OrdersClient,
    OrdersService,
    raw_call,
)


async def test_a_wrong_request_is_refused_before_it_is_sent(nats_server: NatsServer) -> None:
    wrong = cast("CreateRequest", {"customerId": "c1", "items": [{"productId": "p1", "quantity": 0}]})

    async with OrdersClient.connect(nats_server.url) as client:
        with pytest.raises(InvalidPayload, match="#/items/0/quantity"):
            await client.create(wrong)


async def test_a_wrong_request_never_reaches_the_handler(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            raise AssertionError

        await service.start()
        answer = await raw_call(nats_server, b'{"items":[{"productId":"p1","quantity":0}]}')

    assert dict(answer.headers) == {"status": "error", "trellis-contract-digest": CONTRACT.digest}
    assert b'"type":"ValidationError"' in answer.data
    assert b'"path":"#/items/0/quantity"' in answer.data
    assert b'"path":"#/customerId"' in answer.data


async def test_a_wrong_response_is_not_sent(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
    ):

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            return cast("CreateResponse", {"orderId": ""})

        await service.start()
        with pytest.raises(ValidationError, match=r"Validation of the response failed. #/orderId") as caught:
            await client.create(REQUEST)

    assert [place for place, _ in caught.value.issues] == ["#/orderId"]
    assert caught.value.id is not None
    assert caught.value.id in caplog.text


async def test_a_wrong_reply_is_named_to_the_caller(nats_server: NatsServer) -> None:
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())

    def answer(message: Message) -> None:
        connection.send(message.reply, b'{"orderId":7}')

    async with OrdersClient.connect(nats_server.url) as client:
        connection.subscribe("rpc.v1.Orders.Create", answer)
        await connection.flush()

        with pytest.raises(InvalidPayload, match=r'the response of rpc "Orders.Create".*#/orderId'):
            await client.create(REQUEST)
    await connection.close()
