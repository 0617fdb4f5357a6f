"""The client side of one feed: opening it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

from typing_extensions import override

from trellis_nats._calls.error_codec import ErrorCodec
from trellis_nats._calls.outgoing import CallHeaders
from trellis_nats._calls.presence import SILENT_AFTER
from trellis_nats._calls.spans import set_status
from trellis_nats._calls.until_served import until_served
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.readiness import wait_ready
from trellis_nats._nats.wire.message import Message
from trellis_nats._tracing.descriptions import REQUEST_ID, describe_call
from trellis_nats._tracing.tracer import start_outgoing
from trellis_nats._versions import ContractVersion
from trellis_nats.binding import Binding
from trellis_nats.codec import Codec
from trellis_nats.errors import FeedInterrupted, NoResponders, PermissionDenied, RequestTimeout
from trellis_nats.errors.configuration import require_timedelta
from trellis_nats.feeds.frames import SIGNALS_LINE, Frame, has_signals, interpret_frame
from trellis_nats.feeds.grants import open_grants
from trellis_nats.feeds.subscription import FeedBuffer, FeedSubscription
from trellis_nats.grants import Grant, Role
from trellis_nats.runtime import Runtime
from trellis_nats.specs import FeedSpec
from trellis_nats.surface import Surface

__all__ = ["FeedCall"]

RequestT = TypeVar("RequestT")
EventT = TypeVar("EventT")


class FeedCall(Generic[RequestT, EventT]):
    """A feed to be opened."""

    def __init__(self, runtime: Runtime, spec: FeedSpec) -> None:
        self.spec = spec
        """What the contract declares about the feed."""
        self._runtime = runtime
        self._request = Codec[RequestT](spec.input, what=f'the request of feed "{spec.name}"')
        self._event = Codec[EventT](spec.event, what=f'an event of feed "{spec.name}"')
        self._errors = ErrorCodec(f'feed "{spec.name}"', spec.errors)
        self._description = describe_call("feed", spec.name)
        self._version = ContractVersion(runtime.contract.digest)
        self._headers = CallHeaders(runtime.signer, SIGNALS_LINE + self._version.header_line)
        runtime.register(_CallSurface(spec))

    def __repr__(self) -> str:
        return f"<FeedCall {self.spec.name}>"

    @asynccontextmanager
    async def __call__(
        self, request: RequestT, *, timeout: timedelta | None = None
    ) -> AsyncGenerator[FeedSubscription[EventT]]:
        """Open the feed for an `async with` block, and iterate over its events.

            async with client.feeds.orders.live(OrdersLiveRequest()) as events:
                async for event in events:
                    print(event)

        With no timeout, wait for `Options.request_timeout` until the service accepts the call; the feed itself has no
        limit. Events arrive at most once, in order. Up to 4,096 of them, and 64 MiB, wait for the reader. Where events
        may be missing, because a connection was lost or the reader is too slow, iterating raises `FeedInterrupted`: open
        the feed again.

        Raises:
            InvalidPayload: the request does not match its schema, and nothing was sent.
            ValidationError: the service rejects the request.
            AuthError: the caller may not do this.
            RpcError: the service refuses the call for another reason.
            NoResponders: no process serves the feed.
            RequestTimeout: the service did not accept the call in time.
            PermissionDenied: the account may not publish to the feed's subject.
            NotConnected: there was no connection in time; nothing was sent.
            PayloadTooLarge: the server would not take the request; nothing was sent.
            FeedInterrupted: the connection was lost before the service accepted the call.
        """
        self._runtime.connection.require_own_loop()
        require_timedelta("timeout", timeout)
        data = self._request.encode(request)
        limit = self._runtime.options.request_timeout if timeout is None else timeout
        with start_outgoing(self._description) as span:
            context = span.call_context
            span.set(REQUEST_ID, context.request_id)
            write_headers = partial(self._headers.write, context, self.spec.subject, data)
            opening = _Opening(self._runtime.connection, self.spec)
            try:
                first = await until_served(partial(opening.send, data, write_headers), limit)
                if interpret_frame(first) is Frame.ERROR:
                    error = self._errors.decode(first.data)
                    set_status(span, error)
                    raise error
                silent_after = SILENT_AFTER if has_signals(first.headers) else None
                yield FeedSubscription(
                    self._event,
                    self._errors,
                    self._version,
                    opening.buffer,
                    self._runtime.connection.require_own_loop,
                    silent_after=silent_after,
                )
            finally:
                await opening.close()


class _Opening:
    """The inbox of one open feed, and the call that opens it."""

    def __init__(self, connection: Connection, spec: FeedSpec) -> None:
        self.buffer = FeedBuffer()
        self._connection = connection
        self._spec = spec
        self._inbox = connection.new_inbox()
        self._denied = PermissionViolation("publish to", spec.subject.lower())
        self._is_denied = False
        self._subscription = connection.subscribe(self._inbox, self.buffer.put)
        self._removers = [
            connection.on_close(lambda error: self.buffer.end(str(error))),
            connection.on_permission_error(self._on_violation),
        ]

    async def send(self, data: bytes, write_headers: Callable[[], bytes], limit: timedelta) -> Message:
        """Send the call, and return the frame that answers it.

        Raises:
            NoResponders: no process serves the feed.
        """
        due = self._connection.loop.time() + limit.total_seconds()
        await wait_ready(self._connection, due, self._spec.subject)
        # Not earlier: a link that ended before the call was sent lost nothing of it.
        self._removers.append(self._connection.on_disconnect(self._on_disconnect))
        self._connection.send(self._spec.subject, data, headers=write_headers(), reply=self._inbox)
        first = await self._take_first(due, limit)
        if interpret_frame(first) is Frame.NO_SERVICE:
            raise NoResponders(f'no process serves feed "{self._spec.name}"')
        return first

    async def close(self) -> None:
        """Receive no more frames. The service notices."""
        for remove in self._removers:
            remove()
        await self._subscription.unsubscribe()

    async def _take_first(self, due: float, limit: timedelta) -> Message:
        try:
            async with asyncio.timeout_at(due):
                return await self.buffer.take(silent_after=None)
        except TimeoutError:
            raise RequestTimeout(
                f'no answer from feed "{self._spec.name}" within {limit.total_seconds():g} s'
            ) from None
        except FeedInterrupted:
            if self._is_denied:
                raise PermissionDenied("publish to", self._spec.subject) from None
            raise

    def _on_disconnect(self) -> None:
        self.buffer.end("the connection was lost; events may be missing")

    def _on_violation(self, violation: PermissionViolation) -> bool:
        if violation != self._denied:
            return False
        self._is_denied = True
        self.buffer.end("the account may not open it")
        return True


@dataclass(frozen=True)
class _CallSurface(Surface):
    spec: FeedSpec

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        return open_grants(self.spec) if role in {"worker", "client"} else ()
