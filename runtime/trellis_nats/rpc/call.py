"""The client side of one remote procedure."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

from typing_extensions import override

from trellis_nats._calls.error_codec import ErrorCodec
from trellis_nats._calls.headers import is_error, timeout_line
from trellis_nats._calls.outgoing import CallHeaders
from trellis_nats._calls.spans import set_status
from trellis_nats._calls.until_served import until_served
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats._tracing.descriptions import REQUEST_ID, describe_call
from trellis_nats._tracing.tracer import start_outgoing
from trellis_nats._versions import ContractVersion
from trellis_nats.binding import Binding
from trellis_nats.codec import Codec
from trellis_nats.context import Context
from trellis_nats.errors import InvalidPayload
from trellis_nats.errors.configuration import require_timedelta
from trellis_nats.grants import Grant, Role
from trellis_nats.rpc.grants import call_grants
from trellis_nats.runtime import Runtime
from trellis_nats.specs import RpcSpec
from trellis_nats.surface import Surface

__all__ = ["RpcCall"]

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class RpcCall(Generic[RequestT, ResponseT]):
    """A procedure to be called."""

    def __init__(self, runtime: Runtime, spec: RpcSpec) -> None:
        self.spec = spec
        """What the contract declares about the procedure."""
        self._runtime = runtime
        self._request = Codec[RequestT](spec.input, what=f'the request of rpc "{spec.name}"')
        self._response = Codec[ResponseT](spec.output, what=f'the response of rpc "{spec.name}"')
        self._errors = ErrorCodec(f'rpc "{spec.name}"', spec.errors)
        self._description = describe_call("rpc", spec.name)
        self._version = ContractVersion(runtime.contract.digest)
        self._headers = CallHeaders(runtime.signer, self._version.header_line)
        runtime.register(_CallSurface(spec))

    def __repr__(self) -> str:
        return f"<RpcCall {self.spec.name}>"

    async def __call__(self, request: RequestT, *, timeout: timedelta | None = None) -> ResponseT:
        """Call the procedure and return its response.

        With no timeout, wait for `Options.request_timeout`. The service learns how long the caller waits, and
        cancels its handler after that. A call is sent once: when it times out, the handler may still have run. A call
        made by a handler inherits the handler's trace.

        Raises:
            InvalidPayload: the request does not match its schema, and nothing was sent; or the reply does not.
            DeclaredError: the service raised one of the errors of its contract; as the generated class.
            ValidationError: the service rejects the request, or its handler returned an invalid response.
            AuthError: the caller may not do this.
            UnexpectedError: the handler failed; the service's log has the details under the error's id.
            RemoteError: the service raised an error that this contract does not know.
            NoResponders: no process serves the procedure.
            RequestTimeout: no answer came in time; or the timeout is not positive, and nothing was sent.
            TransportError: NATS could not send the request.
        """
        self._runtime.connection.require_own_loop()
        require_timedelta("timeout", timeout)
        data = self._request.encode(request)
        limit = self._runtime.options.request_timeout if timeout is None else timeout
        with start_outgoing(self._description) as span:
            context = span.call_context
            span.set(REQUEST_ID, context.request_id)
            answer = await until_served(partial(self._send, data, context), limit)
            if is_error(answer.headers):
                error = self._errors.decode(answer.data)
                set_status(span, error)
                raise error
            try:
                return self._response.decode(answer.data)
            except InvalidPayload as error:
                raise self._version.explain(error, answer.headers) from None

    def _send(self, data: bytes, context: Context, limit: timedelta) -> Awaitable[Message]:
        subject = self.spec.subject
        headers = partial(self._headers.write, context, subject, data, timeout_line(limit))
        return request(self._runtime.connection, subject, data, headers=headers, timeout=limit)


@dataclass(frozen=True)
class _CallSurface(Surface):
    spec: RpcSpec

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        return call_grants(self.spec) if role in {"worker", "client"} else ()
