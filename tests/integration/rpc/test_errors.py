"""What a caller gets when a handler fails."""

import asyncio
import json
import logging
from typing import cast

import pytest
from pydantic import JsonValue
from trellis_nats import (
    AuthError,
    RemoteError,
    RpcContext,
    RpcError,
    UnexpectedError,
    ValidationError,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.testing import NatsServer

from tests.support.orders import (
    CONTRACT,
    REQUEST,
    CreateRequest,
    CreateResponse,
    NotFoundError,
    OrdersClient,
    OrdersService,
    raw_call,
)

TEXT = "the password is hunter2"


async def outcome(server: NatsServer, error: BaseException) -> RpcError:
    """Return what a caller gets for an error that the handler raises."""
    async with OrdersService.connect(server.url) as service, OrdersClient.connect(server.url) as client:

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            raise error

        await service.start()
        with pytest.raises(RpcError) as caught:
            await client.create(REQUEST)
    return caught.value


async def test_a_declared_error_crosses_the_wire_with_its_fields(nats_server: NatsServer) -> None:
    error = await outcome(
        nats_server,
        NotFoundError(
            "customer missing not found", resource="customer", resource_id="missing", hint="try c1"
        ),
    )

    assert isinstance(error, NotFoundError)
    assert (error.resource, error.resource_id, error.fields["hint"]) == ("customer", "missing", "try c1")
    assert error.message == "customer missing not found"
    assert str(error) == (
        "customer missing not found (resource='customer', resourceId='missing', hint='try c1')"
    )
    assert error.id is not None


async def test_a_declared_error_that_was_never_constructed_is_an_unexpected_one(
    nats_server: NatsServer,
) -> None:
    class Gone(NotFoundError):
        def __init__(self) -> None:
            """Forget the constructor of the base."""

    assert isinstance(await outcome(nats_server, Gone()), UnexpectedError)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([NotFoundError(resource="order", resource_id="o1"), AuthError("no")], NotFoundError),
        ([AuthError("no"), asyncio.CancelledError()], AuthError),
        ([NotFoundError(resource="order", resource_id="o1"), KeyError(TEXT)], UnexpectedError),
    ],
)
async def test_a_group_of_errors_for_the_caller_crosses_the_wire_as_its_first(
    nats_server: NatsServer, errors: list[BaseException], expected: type[RpcError]
) -> None:
    """A task group raises one. An unexpected error among them stays in the log, as it does alone."""
    error = await outcome(nats_server, BaseExceptionGroup("tasks", [BaseExceptionGroup("inner", errors)]))

    assert type(error) is expected
    assert TEXT not in str(error)


async def test_a_declared_error_has_the_body_that_other_runtimes_send(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            raise NotFoundError("customer missing not found", resource="customer", resource_id="missing")

        await service.start()
        traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        answer = await raw_call(
            nats_server, b'{"customerId":"missing"}', {"request-id": "01M8R", "traceparent": traceparent}
        )

    body = cast("dict[str, JsonValue]", json.loads(answer.data))
    assert dict(answer.headers) == {"status": "error", "trellis-contract-digest": CONTRACT.digest}
    assert len(str(body.pop("id"))) == 26
    assert body == {
        "type": "NotFoundError",
        "message": "customer missing not found",
        "context": {
            "method": "Orders.Create",
            "requestId": "01M8R",
            "service": "orders-service",
            "contractId": "orders-service@v1",
            "contractDigest": service.contract.digest,
        },
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "resource": "customer",
        "resourceId": "missing",
    }


class Aborted(BaseException):
    """No `Exception`, as the errors by which test and task libraries abort."""


@pytest.mark.parametrize(
    "error",
    [RuntimeError(TEXT), SystemExit(TEXT), asyncio.CancelledError(TEXT), GeneratorExit(TEXT), Aborted(TEXT)],
)
async def test_an_undeclared_error_is_logged_and_the_caller_gets_its_id(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    async with OrdersService.connect(nats_server.url) as service:

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            raise error

        await service.start()
        answer = await raw_call(nats_server, b'{"customerId":"c1"}')

    body = cast("dict[str, JsonValue]", json.loads(answer.data))
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert body["type"] == "UnexpectedError"
    assert body["message"] == "An unexpected error has occurred"
    assert b"hunter2" not in answer.data
    assert b"Traceback" not in answer.data
    assert str(body["id"]) in record.message
    assert record.exc_info is not None
    assert "hunter2" in caplog.text


async def test_the_caller_of_a_failed_handler_gets_the_id_to_ask_for(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    error = await outcome(nats_server, RuntimeError(TEXT))

    assert isinstance(error, UnexpectedError)
    assert error.id is not None
    assert error.id in str(error)
    assert error.id in caplog.text


async def test_a_handler_may_refuse_a_request_or_a_caller_itself(nats_server: NatsServer) -> None:
    validation = await outcome(
        nats_server, ValidationError("no such month", [("#/month", "must be 1 to 12")])
    )
    auth = await outcome(nats_server, AuthError("forbidden"))

    assert isinstance(validation, ValidationError)
    assert (str(validation), validation.issues) == ("no such month", (("#/month", "must be 1 to 12"),))
    assert isinstance(auth, AuthError)
    assert auth.reason == "forbidden"


async def test_the_error_of_a_call_that_the_handler_made_is_not_its_callers(nats_server: NatsServer) -> None:
    async with (
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
    ):

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            return await service.call_peek(request)

        @service.peek.handle
        async def peek(context: RpcContext, request: CreateRequest) -> CreateResponse:
            raise ValidationError("your request is wrong")

        await service.start()
        with pytest.raises(UnexpectedError):
            await client.create(REQUEST)


async def test_an_error_of_another_contract_is_unexpected(nats_server: NatsServer) -> None:
    async with (
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
    ):

        @service.peek.handle
        async def peek(context: RpcContext, request: CreateRequest) -> CreateResponse:
            raise NotFoundError(TEXT, resource="a", resource_id="b")

        await service.start()
        with pytest.raises(UnexpectedError):
            await client.peek(REQUEST)


async def test_a_declared_error_with_wrong_fields_is_unexpected_and_logged(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    error = await outcome(nats_server, NotFoundError(resource=cast("str", 3), resource_id="b"))

    assert isinstance(error, UnexpectedError)
    assert "#/resource" in caplog.text


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
async def test_a_request_that_is_not_json_is_answered(nats_server: NatsServer, data: bytes) -> None:
    async with OrdersService.connect(nats_server.url) as service:

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            raise AssertionError

        await service.start()
        answer = await raw_call(nats_server, data)

    assert dict(answer.headers) == {"status": "error", "trellis-contract-digest": CONTRACT.digest}
    assert json.loads(answer.data)["type"] == "UnexpectedError"


async def test_a_response_too_large_to_send_is_answered_with_an_error(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
    ):

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            return CreateResponse(order_id="x" * 2_000_000)

        await service.start()
        with pytest.raises(UnexpectedError) as caught:
            await client.create(REQUEST)

    assert caught.value.id is not None
    assert caught.value.id in caplog.text
    assert "exceeds the limit of 1048064 bytes" in caplog.text


async def test_an_error_of_an_unknown_type_arrives_as_it_is(nats_server: NatsServer) -> None:
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    body = b'{"id":"1","type":"StrangeError","message":"odd","context":{},"extra":[1]}'
    connection.subscribe(
        "rpc.v1.Orders.Create",
        lambda message: connection.send(message.reply, body, headers={"status": "error"}),
    )
    async with OrdersClient.connect(nats_server.url) as client:
        await connection.flush()
        with pytest.raises(RemoteError, match="StrangeError: odd") as caught:
            await client.create(REQUEST)
    await connection.close()

    assert caught.value.error["extra"] == [1]
