"""Errors as replies carry them, both ways."""

import json
from typing import cast

import pytest
from pydantic import ConfigDict, JsonValue
from trellis_nats import (
    AuthError,
    DeclaredError,
    InvalidPayload,
    Model,
    RemoteError,
    RpcError,
    UnexpectedError,
    ValidationError,
)
from trellis_nats._calls.error_codec import CallFacts, ErrorCodec, invalid_request, invalid_response

from tests.support.orders import ORDERS_CREATE, ORDERS_PEEK, BusyError, NotFoundError

CALL = CallFacts(
    surface="method",
    name="Orders.Create",
    request_id="01M8REQUEST",
    service="orders-service",
    contract_id="orders-service@v1",
    contract_digest="w4an",
    trace_id="0af7651916cd43dd8448eb211c80319c",
)
CONTEXT = {
    "method": "Orders.Create",
    "requestId": "01M8REQUEST",
    "service": "orders-service",
    "contractId": "orders-service@v1",
    "contractDigest": "w4an",
}
ERRORS = ErrorCodec('rpc "Orders.Create"', ORDERS_CREATE.errors)


def written(error: RpcError, errors: ErrorCodec = ERRORS) -> JsonValue:
    parsed: JsonValue = json.loads(errors.encode(error, CALL, error_id="01M8ERROR"))
    return parsed


def body(**members: JsonValue) -> bytes:
    return json.dumps({"id": "01M8ERROR", "message": "said", "context": CONTEXT, **members}).encode()


def test_a_declared_error_is_written_as_other_runtimes_write_it() -> None:
    error = NotFoundError("customer missing not found", resource="customer", resource_id="missing")

    assert ERRORS.encode(error, CALL, error_id="01M8ERROR") == (
        b'{"id":"01M8ERROR","type":"NotFoundError","message":"customer missing not found",'
        b'"context":{"method":"Orders.Create","requestId":"01M8REQUEST","service":"orders-service",'
        b'"contractId":"orders-service@v1","contractDigest":"w4an"},'
        b'"traceId":"0af7651916cd43dd8448eb211c80319c",'
        b'"resource":"customer","resourceId":"missing"}'
    )


def test_the_recorded_reply_of_another_runtime_is_read_as_the_declared_error() -> None:
    recorded = (
        b'{"id":"01M8","type":"NotFoundError","message":"customer missing not found",'
        b'"context":{"method":"Orders.Create","requestId":"01M8","service":"orders-service",'
        b'"contractId":"orders-service@v1","contractDigest":"w4an"},'
        b'"resource":"customer","resourceId":"missing"}'
    )

    error = ERRORS.decode(recorded)

    assert isinstance(error, NotFoundError)
    assert (error.resource, error.resource_id, error.message) == (
        "customer",
        "missing",
        "customer missing not found",
    )
    assert str(error) == "customer missing not found (resource='customer', resourceId='missing')"
    assert error.id == "01M8"
    assert error.context["method"] == "Orders.Create"
    assert error.fields == {"resource": "customer", "resourceId": "missing", "hint": None}


def test_a_declared_error_keeps_what_its_context_had() -> None:
    error = NotFoundError(resource="order", resource_id="o1")
    error.context = {"shelf": 7, "method": "forged"}

    assert written(error) == {
        "id": "01M8ERROR",
        "type": "NotFoundError",
        "message": "not found",
        "context": {"shelf": 7, **CONTEXT},
        "traceId": CALL.trace_id,
        "resource": "order",
        "resourceId": "o1",
    }


def test_a_declared_error_without_a_schema_has_no_fields() -> None:
    error = ERRORS.decode(body(type="BusyError"))

    assert written(BusyError("busy")) == {
        "id": "01M8ERROR",
        "type": "BusyError",
        "message": "busy",
        "context": CONTEXT,
        "traceId": CALL.trace_id,
    }
    assert isinstance(error, BusyError)
    assert error.message == "said"


class ClosedData(Model):
    model_config = ConfigDict(extra="forbid")

    code: int


class ClosedError(DeclaredError):
    error_type = "ClosedError"
    data_type = ClosedData


def test_a_schema_that_forbids_the_common_members_still_works() -> None:
    errors = ErrorCodec('rpc "X"', [ClosedError])

    data = errors.encode(ClosedError("said", code=4), CALL, error_id="01M8ERROR")
    error = errors.decode(data)

    assert json.loads(data)["code"] == 4
    assert isinstance(error, ClosedError)
    assert error.fields == {"code": 4}


def test_a_declared_error_that_breaks_its_schema_is_not_written() -> None:
    error = NotFoundError(resource=cast("str", 3), resource_id="x")

    with pytest.raises(InvalidPayload, match='error "NotFoundError" does not match its schema: #/resource'):
        ERRORS.encode(error, CALL, error_id="01M8ERROR")


def test_an_error_that_the_procedure_does_not_declare_becomes_unexpected() -> None:
    error = written(
        NotFoundError("secret", resource="a", resource_id="b"),
        ErrorCodec('rpc "Orders.Peek"', ORDERS_PEEK.errors),
    )

    assert error == {
        "id": "01M8ERROR",
        "type": "UnexpectedError",
        "message": "An unexpected error has occurred",
        "context": CONTEXT,
        "traceId": CALL.trace_id,
    }


def test_a_validation_error_names_places_and_has_a_line_for_each() -> None:
    issues = [("#/items/0/quantity", "Input should be 1 or more"), ("#/customerId", "Field required")]

    error = written(invalid_request(issues))

    assert isinstance(error, dict)
    assert error["type"] == "ValidationError"
    assert error["message"] == (
        "Validation failed. #/items/0/quantity: Input should be 1 or more.\n"
        "Validation failed. #/customerId: Field required."
    )
    assert error["issues"] == [
        {"path": "#/items/0/quantity", "message": "Input should be 1 or more"},
        {"path": "#/customerId", "message": "Field required"},
    ]
    assert (
        str(invalid_response(issues[1:]))
        == "Validation of the response failed. #/customerId: Field required."
    )


def test_built_in_errors_are_read_though_no_procedure_declares_them() -> None:
    issue: JsonValue = {"path": "#/a", "message": "must be string"}
    validation = ERRORS.decode(body(type="ValidationError", issues=[issue, "odd", {"path": 1}]))
    auth = ERRORS.decode(body(type="AuthError", reason="insufficient_permissions"))
    unexpected = ERRORS.decode(body(type="UnexpectedError"))

    assert isinstance(validation, ValidationError)
    assert (str(validation), validation.issues, validation.id) == (
        "said",
        (("#/a", "must be string"),),
        "01M8ERROR",
    )
    assert isinstance(auth, AuthError)
    assert (auth.reason, auth.id) == ("insufficient_permissions", "01M8ERROR")
    assert isinstance(unexpected, UnexpectedError)
    assert unexpected.id == "01M8ERROR"


@pytest.mark.parametrize(
    "data",
    [
        body(type="StrangeError", extra=[1]),
        body(type="NotFoundError", resource="without its id"),
        body(type="AuthError"),
        body(type=None),
        b"{}",
    ],
)
def test_what_the_contract_does_not_know_arrives_whole(data: bytes) -> None:
    error = ERRORS.decode(data)

    assert isinstance(error, RemoteError)
    assert error.error == json.loads(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"no json", b'"text"', b"\xff", b"[" * 100_000])
def test_an_error_reply_that_is_not_an_object_is_invalid(data: bytes) -> None:
    with pytest.raises(InvalidPayload, match=r'the error reply of rpc "Orders.Create"'):
        ERRORS.decode(data)
