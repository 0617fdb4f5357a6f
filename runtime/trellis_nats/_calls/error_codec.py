"""Encodes errors as the bodies of replies, and decodes them (reference, 5.2). Pure.

Places in a `ValidationError` are those in the value, such as `#/items/0/quantity`, so that a caller sees which of many
items is wrong. Other runtimes name the place in the schema instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeGuard, cast

from pydantic import JsonValue

from trellis_nats._calls.declared import Common, DeclaredCodec, read_common
from trellis_nats.codec import decode_json, encode_json
from trellis_nats.errors import (
    AuthError,
    DeclaredError,
    FeedInterrupted,
    InvalidPayload,
    OperationAlreadyTerminal,
    OperationError,
    OperationInterrupted,
    OperationMismatch,
    OperationNotFound,
    RemoteError,
    RpcError,
    TransferError,
    UnexpectedError,
    ValidationError,
)

__all__ = ["CallFacts", "ErrorCodec", "invalid_request", "invalid_response"]

_CALL_FACTS: Final = frozenset(
    ["reason", "method", "feed", "operation", "requestId", "service", "contractId", "contractDigest"]
)
"""What the context of every `TransferError` of an operation has."""
_UNEXPECTED: Final = "An unexpected error has occurred"


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFacts:
    """What an error reply contains about its call."""

    surface: Literal["method", "feed", "operation"]
    """The member of `context` that has the name (reference, 5.2)."""
    name: str
    request_id: str
    service: str
    contract_id: str
    contract_digest: str
    trace_id: str

    def context(self) -> dict[str, JsonValue]:
        """Write the `context` member."""
        return {
            self.surface: self.name,
            "requestId": self.request_id,
            "service": self.service,
            "contractId": self.contract_id,
            "contractDigest": self.contract_digest,
        }


class ErrorCodec:
    """Encodes and decodes the error replies of one procedure, feed or operation."""

    def __init__(self, what: str, errors: Iterable[type[DeclaredError]]) -> None:
        """Prepare for the errors that the contract declares; `what` is `rpc "Orders.Create"`."""
        self._what = f"the error reply of {what}"
        self._declared = {error.error_type: DeclaredCodec(error) for error in errors}

    def encode(self, error: RpcError, call: CallFacts, *, error_id: str) -> bytes:
        """Encode an error. One that is neither declared nor built in becomes an `UnexpectedError`.

        Raises:
            InvalidPayload: the fields of a declared error do not match its schema, or cannot be written as JSON.
        """
        common: dict[str, JsonValue] = {
            "id": error_id,
            "type": "UnexpectedError",
            "message": _UNEXPECTED,
            "context": call.context(),
            "traceId": call.trace_id,
        }
        own: Mapping[str, JsonValue] = {}
        match error:
            case DeclaredError(error_type=name) if (codec := self._declared.get(name)) is not None:
                context = {**codec.context(error), **call.context()}
                common |= {"type": name, "message": error.message, "context": context}
                own = codec.fields(error, common)
            case ValidationError():
                common |= {"type": "ValidationError", "message": str(error)}
                if error.caller_digest is not None:
                    context = {**call.context(), "callerContractDigest": error.caller_digest}  # ours
                    common["context"] = context
                own = {"issues": [{"path": path, "message": text} for path, text in error.issues]}
            case AuthError():
                details = {name: value for name, value in error.context.items() if _is_plain(value)}
                common |= {
                    "type": "AuthError",
                    "message": error.message,
                    "context": {**details, **call.context()},
                }
                own = {"reason": error.reason}
            case TransferError():
                common |= _write_transfer_error(error, call)
            case FeedInterrupted():
                common |= {"type": "FeedInterrupted", "message": str(error)}
            case _:
                named, own = _write_operation_error(error, call)
                common |= named
        try:
            return encode_json({**common, **own})
        except ValueError:
            raise InvalidPayload(self._what, [("#", "it cannot be written as JSON text")]) from None

    def decode(self, data: bytes) -> RpcError:
        """Decode an error: a declared or built-in one, or else a `RemoteError`.

        Raises:
            InvalidPayload: it is not an error object.
        """
        try:
            body = decode_json(data)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise InvalidPayload(self._what, [("#", "an error must be a JSON object")])
        name = body.get("type")
        codec = self._declared.get(name) if isinstance(name, str) else None
        read = _read_built_in(body) if codec is None else codec.read(body)
        return read or RemoteError(body)


def _is_plain(value: object) -> TypeGuard[JsonValue]:
    """Return whether a detail of an error is a text, or a list of texts: nothing else is sent."""
    if isinstance(value, list):
        return all(isinstance(each, str) for each in cast("list[object]", value))
    return isinstance(value, str)


def _write_transfer_error(error: TransferError, call: CallFacts) -> Mapping[str, JsonValue]:
    details = {name: value for name, value in error.context.items() if isinstance(value, str | int)}
    return {
        "type": "TransferError",
        "message": f"Transfer {error.operation} failed",
        "operation": error.operation,
        "context": {"reason": error.reason, **details, **call.context()},
    }


def _read_transfer_error(
    operation: str, reason: str, context: Mapping[str, JsonValue], error_id: str | None
) -> TransferError:
    details = {name: value for name, value in context.items() if name not in _CALL_FACTS}
    error = TransferError(operation, reason, details)
    error.id = error_id
    return error


def _write_operation_error(
    error: RpcError, call: CallFacts
) -> tuple[Mapping[str, JsonValue], Mapping[str, JsonValue]]:
    """Return the members of an error of an operation: those that replace common ones, and its own; none for another."""
    match error:
        case OperationNotFound(operation_id=operation_id):
            own: dict[str, JsonValue] = {"operationId": operation_id}
            return {"type": "OperationNotFoundError", "message": str(error)}, own
        case OperationAlreadyTerminal(operation_id=operation_id):
            own = {"operationId": operation_id, "operation": call.name, "service": call.service}
            if error.state is not None:
                own["state"] = error.state
            return {
                "type": "OperationAlreadyTerminalError",
                "message": f"Operation already terminal: {operation_id}",
            }, own
        case OperationMismatch(operation_id=operation_id):
            own = {
                "operationId": operation_id,
                "expectedService": call.service,
                "expectedOperation": error.expected,
                "actualService": call.service,
            }
            if error.actual is not None:
                own["actualOperation"] = error.actual
            message = f"Operation mismatch: {operation_id}"
            return {"type": "OperationMismatchError", "message": message}, own
        case OperationInterrupted():
            return {"type": "OperationInterrupted", "message": str(error)}, {}
        case _:
            return {}, {}


def invalid_request(
    issues: Sequence[tuple[str, str]], *, caller_digest: str | None = None, service_digest: str | None = None
) -> ValidationError:
    """Return the error for a request that does not match its schema, by a caller with another contract if that is known."""
    text = _lines("Validation failed.", issues)
    if caller_digest is not None and service_digest is not None:
        text = f"{text}\nThe caller has contract version {caller_digest}, the service has {service_digest}."
    return ValidationError(text, issues, caller_digest=caller_digest, service_digest=service_digest)


def invalid_response(issues: Sequence[tuple[str, str]]) -> ValidationError:
    """Return the error for a valid request whose handler returned something that does not match the schema."""
    return ValidationError(_lines("Validation of the response failed.", issues), issues)


def _lines(opening: str, issues: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{opening} {path}: {message}." for path, message in issues)


def _read_built_in(body: Mapping[str, JsonValue]) -> RpcError | None:
    common = read_common(body)
    match body:
        case {"type": "UnexpectedError"}:
            return UnexpectedError(common.message or _UNEXPECTED, id=common.id)
        case {"type": "ValidationError"}:
            return _read_validation_error(common, _read_issues(body.get("issues")))
        case {"type": "AuthError", "reason": str(reason)}:
            auth = AuthError(reason, common.context)
            auth.id = common.id
            return auth
        case {"type": "FeedInterrupted"}:
            return FeedInterrupted(common.message)
        case {"type": "TransferError", "operation": str(operation), "context": {"reason": str(reason)}}:
            return _read_transfer_error(operation, reason, common.context, common.id)
        case _:
            error = _read_operation_error(body, common.message)
            if error is not None:
                error.id = common.id
            return error


def _read_operation_error(body: Mapping[str, JsonValue], message: str) -> OperationError | None:
    match body:
        case {"type": "OperationNotFoundError", "operationId": str(operation_id)}:
            return OperationNotFound(operation_id)
        case {"type": "OperationAlreadyTerminalError", "operationId": str(operation_id)}:
            state = body.get("state")
            return OperationAlreadyTerminal(operation_id, state if isinstance(state, str) else None)
        case {
            "type": "OperationMismatchError",
            "operationId": str(operation_id),
            "expectedOperation": str(expected),
        }:
            actual = body.get("actualOperation")
            return OperationMismatch(
                operation_id, expected=expected, actual=actual if isinstance(actual, str) else None
            )
        case {"type": "OperationInterrupted"}:
            return OperationInterrupted(message)
        case _:
            return None


def _read_validation_error(common: Common, issues: Sequence[tuple[str, str]]) -> ValidationError:
    match common.context:
        case {"callerContractDigest": str(caller), "contractDigest": str(service)}:
            error = ValidationError(common.message, issues, caller_digest=caller, service_digest=service)
        case _:
            error = ValidationError(common.message, issues)
    error.id = common.id
    return error


def _read_issues(issues: JsonValue) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for issue in issues if isinstance(issues, list) else ():
        match issue:
            case {"path": str(path), "message": str(message)}:
                found.append((path, message))
            case _:
                pass
    return found
