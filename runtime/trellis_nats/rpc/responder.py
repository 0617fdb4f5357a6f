"""Turns a call into its reply: validates the request, runs the handler, validates and encodes what it returns or raises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from trellis_nats._calls.checks import check_caller
from trellis_nats._calls.error_codec import invalid_response
from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.replies import ErrorReplies, Reply
from trellis_nats._support.cancellation import is_cancelled
from trellis_nats.auth import Admission
from trellis_nats.codec import Codec
from trellis_nats.context import enter
from trellis_nats.contract import Contract
from trellis_nats.errors import (
    InvalidPayload,
    RpcError,
    UnexpectedError,
)
from trellis_nats.metrics.families import RPC_CALLS
from trellis_nats.metrics.registry import MetricsRegistry
from trellis_nats.rpc.context import RpcContext
from trellis_nats.specs import RpcSpec

__all__ = ["Responder"]

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class Responder(Generic[RequestT, ResponseT]):
    """Answers the calls of one procedure."""

    def __init__(
        self,
        spec: RpcSpec,
        contract: Contract,
        handler: Callable[[RpcContext, RequestT], Awaitable[ResponseT]],
        metrics: MetricsRegistry,
        admission: Admission | None = None,
    ) -> None:
        self._handler = handler
        self._name = spec.name
        self._subject = spec.subject
        self._capabilities = spec.capabilities
        self._admission = admission
        self._metrics = metrics
        self._answered = metrics.number(RPC_CALLS, spec.name, "ok")
        self.errors = ErrorReplies("rpc", spec.name, contract, spec.errors, on_error=self.count)
        """Writes the replies to calls that the handler does not answer."""
        self._request = Codec[RequestT](spec.input, what=f'the request of rpc "{spec.name}"')
        self._response = Codec[ResponseT](spec.output, what=f'the response of rpc "{spec.name}"')

    async def answer(self, call: IncomingCall) -> Reply:
        """Run the handler, and return its response or its error as a reply. Only a cancellation is raised."""
        try:
            request = self._request.decode(call.data)
        except InvalidPayload as error:
            return self.errors.reply_to_invalid(call, error)
        try:
            call = await check_caller(self._admission, call, self._subject, self._capabilities)
        except RpcError as error:
            return self.errors.reply_to_refused(call, error)
        try:
            enter(call.carried)  # the task's own context: what the handler makes inherits it
            response = await self._handler(RpcContext.of_call(call), request)
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            return self.errors.reply_to_failure(call, UnexpectedError(), cause=error)
        except BaseExceptionGroup as error:
            if is_cancelled():
                raise
            return self.errors.reply_to_exception(call, error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is a reply
            return self.errors.reply_to_exception(call, error)
        try:
            reply = Reply(self._response.encode(response))
        except InvalidPayload as error:
            return self.errors.reply_to_failure(call, invalid_response(error.issues), cause=error)
        self._answered.add()
        return reply

    def count(self, outcome: str) -> None:
        """Count a call that ends otherwise than with a response."""
        self._metrics.number(RPC_CALLS, self._name, outcome).add()
