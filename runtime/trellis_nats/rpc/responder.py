"""Turns a call into its reply: checks the request, runs the handler, checks the response, writes the error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeGuard, TypeVar

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
from trellis_nats.rpc.headers import ERROR_HEADERS
from trellis_nats.rpc.incoming import IncomingCall
from trellis_nats.rpc.wire import CallFacts, ErrorCodec, invalid_request, invalid_response
from trellis_nats.specs import RpcSpec

__all__ = ["Reply", "Responder"]

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a caller gets."""

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
        """Run the handler, and return its reply or that of its error. Nothing but a cancellation passes through."""
        try:
            request = self._request.decode(call.data)
        except InvalidPayload as error:
            return self._invalid(call, error)
        try:
            with within(call.carried):
                response = await self._handler(call.context, request)
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            return self._failed(call, error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever user code raises is a reply
            return self._raised(call, error)
        try:
            return Reply(self._response.encode(response))
        except InvalidPayload as error:
            return self._error(call, invalid_response(error.issues), because=error)

    def refuse(self, call: IncomingCall, reason: str) -> Reply:
        """Return the reply to a call that the handler did not answer, or whose answer cannot be sent."""
        error_id = new_id()
        _log.error(
            'rpc "%s", request %s, error %s: %s', self._spec.name, call.context.request_id, error_id, reason
        )
        return self._reply(call, UnexpectedError(), error_id)

    def _invalid(self, call: IncomingCall, error: InvalidPayload) -> Reply:
        try:
            decode_json(call.data)
        except ValueError:
            return self.refuse(call, "the request is not JSON")
        return self._reply(call, invalid_request(error.issues), new_id())

    def _raised(self, call: IncomingCall, error: BaseException) -> Reply:
        if not self._is_answer(error):
            return self._failed(call, error)
        try:
            return self._reply(call, error, error.id or new_id())
        except InvalidPayload as problem:
            return self._failed(call, problem)

    def _is_answer(self, error: BaseException) -> TypeGuard[DeclaredError | ValidationError | AuthError]:
        """Say whether the caller is to have the error: not when it is the answer to a call that the handler made."""
        return isinstance(error, self._spec.errors) or (
            isinstance(error, ValidationError | AuthError) and error.id is None
        )

    def _failed(self, call: IncomingCall, error: BaseException) -> Reply:
        """Keep an undeclared error, with its traceback, in the log, and tell the caller nothing but its id."""
        return self._error(call, UnexpectedError(), because=error)

    def _error(self, call: IncomingCall, error: RpcError, *, because: BaseException) -> Reply:
        error_id = new_id()
        _log.error(
            'rpc "%s" failed, request %s, error %s',
            self._spec.name,
            call.context.request_id,
            error_id,
            exc_info=because,
        )
        return self._reply(call, error, error_id)

    def _reply(self, call: IncomingCall, error: RpcError, error_id: str) -> Reply:
        facts = CallFacts(
            method=self._spec.name,
            request_id=call.context.request_id,
            service=self._contract.name,
            contract_id=self._contract.id,
            contract_digest=self._contract.digest,
            trace_id=call.context.trace_id,
        )
        return Reply(self._errors.encode(error, facts, error_id=error_id), ERROR_HEADERS)


def _is_cancelled() -> bool:
    """Say whether the running task was cancelled; a handler can also raise a `CancelledError` by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
