"""How a caller reaches the service of one operation: requests, and the frames of a watch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

from trellis_nats._calls.outgoing import CallHeaders
from trellis_nats._calls.presence import SILENT_AFTER
from trellis_nats._calls.spans import set_status
from trellis_nats._calls.until_served import until_served
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.readiness import wait_ready
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats._tracing.descriptions import REQUEST_ID, SpanDescription, describe_call
from trellis_nats._tracing.span import Span
from trellis_nats._tracing.tracer import start_outgoing
from trellis_nats._versions import ContractVersion
from trellis_nats.auth import Signer
from trellis_nats.errors import InvalidPayload, NoResponders, PermissionDenied, RequestTimeout, RpcError
from trellis_nats.operations.frames import (
    ACTIONS,
    ControlRequest,
    ErrorFrame,
    Frame,
    InvalidFrame,
    KeepaliveFrame,
    SnapshotFrame,
    read_frame,
    write_control,
)
from trellis_nats.operations.signals import SignalCodecs
from trellis_nats.operations.snapshot import OperationCodecs
from trellis_nats.runtime import Runtime
from trellis_nats.specs import OperationSignal, OperationSpec

__all__ = ["OperationLink", "WatchFrames", "WatchLost"]

_FRAMES_MAX: Final = 4096
_BYTES_MAX: Final = 64 * 1024 * 1024
_KEEPALIVES_LOST: Final = 3
"""After the time of this many keepalives without a frame, the service is gone."""


class WatchLost(Exception):
    """Frames of a watch may be missing: a connection was lost, the service is silent, or the reader is too slow."""


class OperationLink:
    """What all handles on the operations of one kind share."""

    def __init__(self, runtime: Runtime, spec: OperationSpec) -> None:
        self.spec = spec
        self.codecs = OperationCodecs(spec)
        self.signals = SignalCodecs(spec)
        self._runtime = runtime
        self._headers = CallHeaders(runtime.signer, ContractVersion(runtime.contract.digest).header_line)
        self._start_span = describe_call("operation", spec.name)
        self._control_spans = {
            action: describe_call("operation", spec.name, action=action) for action in ACTIONS
        }

    @property
    def connection(self) -> Connection:
        """The connection of the client."""
        return self._runtime.connection

    def require_own_loop(self) -> None:
        """Refuse a call that does not run on the event loop of the connection. Raises as `Connection.require_own_loop`."""
        self._runtime.connection.require_own_loop()

    @property
    def signer(self) -> Signer | None:
        """Signs the messages of the client. None: they are not signed."""
        return self._runtime.signer

    @property
    def timeout(self) -> timedelta:
        """How long a request waits for its answer."""
        return self._runtime.options.request_timeout

    async def start(self, value: object, timeout: timedelta | None) -> SnapshotFrame:
        """Start an operation, and return the answer. Raises as `OperationCall.start`."""
        self._runtime.connection.require_own_loop()
        data = self.codecs.input.encode(value)
        frame = await self._request(self._start_span, self.spec.subject, data, timeout)
        return self._require_snapshot(frame)

    async def control(self, asked: ControlRequest, timeout: timedelta | None = None) -> Frame:
        """Send a control request, and return its answer.

        Raises:
            RpcError: the service refuses it.
            InvalidPayload: the answer is malformed.
            NoResponders: no process serves the operation.
            RequestTimeout: no answer came in time.
            TransportError: NATS could not send the request.
        """
        self._runtime.connection.require_own_loop()
        description = self._control_spans[asked.action]
        return await self._request(description, self.spec.control_subject, write_control(asked), timeout)

    async def control_snapshot(
        self, asked: ControlRequest, timeout: timedelta | None = None
    ) -> SnapshotFrame:
        """Send a control request that is answered with a snapshot. Raises as `control`."""
        frame = await self.control(asked, timeout)
        return self._require_snapshot(frame)

    def encode_signal(
        self, signal: type[OperationSignal[Any]], value: object
    ) -> Any:  # Any: each has its own input
        """Encode the input of a signal.

        Raises:
            InvalidPayload: it does not match its schema.
        """
        return self.signals.encode(signal, value)

    def trace_watch(self) -> Span:
        """Start the span of a watch, which may be opened several times."""
        return start_outgoing(self._control_spans["watch"])

    @asynccontextmanager
    async def watch(self, asked: ControlRequest, span: Span) -> AsyncGenerator[WatchFrames]:
        """Open a watch within a span, and yield its frames; the first is a snapshot.

        Raises:
            RpcError: the service refuses it.
            NoResponders: no process serves the operation.
            RequestTimeout: no answer came in time.
            NotConnected: there was no connection in time.
            PermissionDenied: the account may not send the request.
            WatchLost: the connection was lost meanwhile.
        """
        connection = self._runtime.connection
        frames = WatchFrames(self)
        inbox = connection.new_inbox()
        subscription = connection.subscribe(inbox, frames.put)
        removers = [connection.on_publish_denied(self.spec.control_subject, frames.deny)]
        try:
            due = connection.loop.time() + self.timeout.total_seconds()
            subject, data = self.spec.control_subject, write_control(asked)
            write_headers = self._header_writer(span, subject, data)
            await wait_ready(connection, due, subject)
            # Not earlier: a link that ended before the request was sent lost nothing of it.
            removers.append(connection.on_disconnect(frames.lose))
            connection.send(subject, data, headers=write_headers(), reply=inbox)
            await frames.wait_first(due)
            yield frames
        finally:
            for remove in removers:
                remove()
            await subscription.unsubscribe()

    def read(self, message: Message) -> Frame:
        """Read a frame.

        Raises:
            RpcError: it is an error.
            InvalidPayload: it is malformed.
        """
        try:
            frame = read_frame(message)
        except InvalidFrame as error:
            raise self._invalid(str(error)) from None
        if isinstance(frame, ErrorFrame):
            raise self.codecs.errors.decode(frame.error)
        return frame

    async def _request(
        self, description: SpanDescription, subject: str, data: bytes, timeout: timedelta | None
    ) -> Frame:
        limit = self.timeout if timeout is None else timeout
        with start_outgoing(description) as span:
            write_headers = self._header_writer(span, subject, data)
            answer = await until_served(partial(self._send, subject, data, write_headers), limit)
            try:
                return self.read(answer)
            except RpcError as error:
                set_status(span, error)
                raise

    def _header_writer(self, span: Span, subject: str, data: bytes) -> Callable[[], bytes]:
        """Return what writes the headers of one call when it is sent."""
        context = span.call_context
        span.set(REQUEST_ID, context.request_id)
        return partial(self._headers.write, context, subject, data)

    def _send(
        self, subject: str, data: bytes, write_headers: Callable[[], bytes], limit: timedelta
    ) -> Awaitable[Message]:
        return request(self._runtime.connection, subject, data, headers=write_headers, timeout=limit)

    def _require_snapshot(self, frame: Frame) -> SnapshotFrame:
        if isinstance(frame, SnapshotFrame):
            return frame
        raise self._invalid("the service answered with another frame than asked for")

    def _invalid(self, text: str) -> InvalidPayload:
        return InvalidPayload(f'the answer of operation "{self.spec.name}"', [("#", text)])


class WatchFrames:
    """The frames of one watch, in order."""

    def __init__(self, link: OperationLink) -> None:
        self._link = link
        self._frames: deque[Message] = deque()
        self._bytes = 0
        self._lost: str | None = None
        self._denied: PermissionDenied | None = None
        self._changed = asyncio.Event()
        self._last_arrival = asyncio.get_running_loop().time()
        self.has_keepalive = False
        """Whether the service shows that it serves the watch, while nothing happens."""
        self._silent_after = SILENT_AFTER.total_seconds()

    def put(self, message: Message) -> None:
        """Add a frame, unless frames are missing already."""
        self._last_arrival = asyncio.get_running_loop().time()
        if self._lost is not None:
            return
        if len(self._frames) >= _FRAMES_MAX or self._bytes + len(message.data) > _BYTES_MAX:
            self.lose("the reader is too slow")
            return
        self._frames.append(message)
        self._bytes += len(message.data)
        self._changed.set()

    def lose(self, reason: str = "the connection was lost") -> None:
        """Let the reader take what has arrived, and then fail."""
        self._lost = self._lost or reason
        self._changed.set()

    def deny(self, denial: PermissionDenied) -> None:
        """Fail, because the request was refused. A watch that is open goes on."""
        self._denied = denial
        self._changed.set()

    async def wait_first(self, due: float) -> None:
        """Wait for the first frame.

        Raises:
            NoResponders: no process serves the operation.
            RequestTimeout: none came in time.
            PermissionDenied: the account may not ask.
            WatchLost: the connection was lost.
        """
        try:
            async with asyncio.timeout_at(due):
                await self._wait(is_first=True)
        except TimeoutError:
            raise RequestTimeout(f'no answer from operation "{self._link.spec.name}"') from None
        if self._frames[0].status == NO_RESPONDERS:
            raise NoResponders(f'no process serves operation "{self._link.spec.name}"')

    async def take(self) -> Frame | None:
        """Return the next frame that says something. None: the service has been silent for long.

        Raises:
            RpcError: it is an error.
            InvalidPayload: it is malformed.
            WatchLost: frames are missing.
        """
        while True:
            try:
                async with asyncio.timeout_at(self._last_arrival + self._silent_after):
                    await self._wait()
            except TimeoutError:
                if asyncio.get_running_loop().time() < self._last_arrival + self._silent_after:
                    continue
                self._last_arrival = asyncio.get_running_loop().time()
                return None
            message = self._frames.popleft()
            self._bytes -= len(message.data)
            frame = self._link.read(message)
            if isinstance(frame, SnapshotFrame) and frame.keepalive_every is not None:
                self.has_keepalive = True
                self._silent_after = _KEEPALIVES_LOST * frame.keepalive_every.total_seconds()
            if not isinstance(frame, KeepaliveFrame):
                return frame

    async def _wait(self, *, is_first: bool = False) -> None:
        while not self._frames:
            if is_first and self._denied is not None:
                raise self._denied
            if self._lost is not None:
                raise WatchLost(self._lost)
            self._changed.clear()
            await self._changed.wait()
