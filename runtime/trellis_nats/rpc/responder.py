"""Turns a call into its reply: validates the request, runs the handler, validates and encodes what it returns or raises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeGuard, TypeVar

from trellis_nats._calls.error_codec import CallFacts, ErrorCodec, invalid_request, invalid_response
from trellis_nats._calls.headers import ERROR_HEADERS
from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_exception import log_exception
from trellis_nats.codec import Codec, decode_json
from trellis_nats.context import within
from trellis_nats.contract import Contract
from trellis_nats.errors import (
    AuthError,
    DeclaredError,
    InvalidPayload,
    RpcError,
    UnexpectedError,
    ValidationError,
)
from trellis_nats.ids import new_id
from trellis_nats.rpc.context import RpcContext
from trellis_nats.specs import RpcSpec

__all__ = ["Reply", "Responder"]

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call."""

    data: bytes
    headers: Mapping[str, str] | None = None


class Responder(Generic[RequestT, ResponseT]):
    """Answers the calls of one procedure."""

    def __init__(
        self,
        spec: RpcSpec,
        contract: Contract,
        handler: Callable[[RpcContext, RequestT], Awaitable[ResponseT]],
    ) -> None:
        self._spec = spec
        self._contract = contract
        self._handler = handler
        self._errors = ErrorCodec(spec)
        self._request = Codec[RequestT](spec.input, what=f'the request of rpc "{spec.name}"')
        self._response = Codec[ResponseT](spec.output, what=f'the response of rpc "{spec.name}"')

    async def answer(self, call: IncomingCall) -> Reply:
        """Run the handler, and return its response or its error as a reply. Only a cancellation is raised."""
        try:
            request = self._request.decode(call.data)
        except InvalidPayload as error:
            return self._reply_to_invalid(call, error)
        try:
            with within(call.carried):
                response = await self._handler(RpcContext.of_call(call), request)
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            return self._reply_to_failure(call, UnexpectedError(), cause=error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever user code raises is a reply
            return self._reply_to_exception(call, error)
        try:
            return Reply(self._response.encode(response))
        except InvalidPayload as error:
            return self._reply_to_failure(call, invalid_response(error.issues), cause=error)

    def refuse(self, call: IncomingCall, reason: str, *, level: int = logging.WARNING) -> Reply:
        """Return the reply to a call that the handler did not answer, or whose answer cannot be sent, and log why."""
        error_id = new_id()
        _log.log(
            level,
            'rpc "%s": request %s is answered with error %s: %s',
            self._spec.name,
            call.request_id,
            error_id,
            reason,
            extra=self._log_fields(LogEvent.CALL_REFUSED, call, error_id),
        )
        return self._error_reply(call, UnexpectedError(), error_id)

    def _reply_to_invalid(self, call: IncomingCall, error: InvalidPayload) -> Reply:
        try:
            decode_json(call.data)
        except ValueError:
            return self.refuse(call, "the request is not JSON")
        return self._error_reply(call, invalid_request(error.issues), new_id())

    def _reply_to_exception(self, call: IncomingCall, error: BaseException) -> Reply:
        if not self._is_for_caller(error):
            return self._reply_to_failure(call, UnexpectedError(), cause=error)
        try:
            return self._error_reply(call, error, error.id or new_id())
        except InvalidPayload as problem:
            return self._reply_to_failure(call, UnexpectedError(), cause=problem)

    def _is_for_caller(self, error: BaseException) -> TypeGuard[DeclaredError | ValidationError | AuthError]:
        """Return whether the caller gets the error itself. An error with an id answers a call that the handler made."""
        return isinstance(error, self._spec.errors) or (
            isinstance(error, ValidationError | AuthError) and error.id is None
        )

    def _reply_to_failure(self, call: IncomingCall, error: RpcError, *, cause: BaseException) -> Reply:
        """Log the cause with its traceback. The caller gets an error with the id under which it is logged."""
        error_id = new_id()
        log_exception(
            _log,
            logging.ERROR,
            'rpc "%s": the handler failed, request %s, error %s',
            self._spec.name,
            call.request_id,
            error_id,
            error=cause,
            extra=self._log_fields(LogEvent.HANDLER_RAISED, call, error_id),
        )
        return self._error_reply(call, error, error_id)

    def _log_fields(self, event: LogEvent, call: IncomingCall, error_id: str) -> dict[str, object]:
        return log_fields(event, rpc=self._spec.name, request_id=call.request_id, error_id=error_id)

    def _error_reply(self, call: IncomingCall, error: RpcError, error_id: str) -> Reply:
        facts = CallFacts(
            method=self._spec.name,
            request_id=call.request_id,
            service=self._contract.name,
            contract_id=self._contract.id,
            contract_digest=self._contract.digest,
            trace_id=call.carried.trace_id,
        )
        return Reply(self._errors.encode(error, facts, error_id=error_id), ERROR_HEADERS)


def _is_cancelled() -> bool:
    """Return whether the running task was cancelled; a handler may also raise a `CancelledError` of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
