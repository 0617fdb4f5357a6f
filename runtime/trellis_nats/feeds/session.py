"""One open feed of a service: runs the handler for one caller, and sends what it yields."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Generic, TypeVar

from trellis_nats._calls.checks import check_caller
from trellis_nats._calls.error_codec import invalid_response
from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.presence import PresenceChecks
from trellis_nats._calls.replies import ErrorReplies, Reply
from trellis_nats._calls.spans import trace_call
from trellis_nats._nats.connection import Connection
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.loop_shares import LoopShares
from trellis_nats._tracing.descriptions import describe_serving
from trellis_nats.auth import Admission
from trellis_nats.codec import Codec
from trellis_nats.context import enter
from trellis_nats.contract import Contract
from trellis_nats.errors import (
    FeedInterrupted,
    InvalidPayload,
    NotConnected,
    PayloadTooLarge,
    RpcError,
    UnexpectedError,
)
from trellis_nats.feeds.context import FeedContext
from trellis_nats.feeds.frames import ALIVE_HEADERS, END_HEADERS, READY_HEADERS, SIGNALS_HEADERS, has_signals
from trellis_nats.specs import FeedSpec

__all__ = ["FeedHandler", "ServedFeed", "Session"]

RequestT = TypeVar("RequestT")
EventT = TypeVar("EventT")

FeedHandler = Callable[[FeedContext, RequestT], AsyncIterator[EventT]]

_log = logging.getLogger(__name__)


class ServedFeed(Generic[RequestT, EventT]):
    """What all sessions of a feed share: its handler and its codecs."""

    def __init__(
        self,
        spec: FeedSpec,
        contract: Contract,
        handler: FeedHandler[RequestT, EventT],
        admission: Admission | None = None,
    ) -> None:
        self.spec = spec
        self.handler = handler
        self.admission = admission
        """Checks the callers. None: open mode."""
        self.request = Codec[RequestT](spec.input, what=f'the request of feed "{spec.name}"')
        self.event = Codec[EventT](spec.event, what=f'an event of feed "{spec.name}"')
        self.errors = ErrorReplies("feed", spec.name, contract, spec.errors)
        self.description = describe_serving("feed", spec.name)
        self.shares = LoopShares()
        """Of the event loop, which a generator that waits for nothing would stop."""


class Session(Generic[RequestT, EventT]):
    """A feed that is open for one caller."""

    def __init__(
        self,
        connection: Connection,
        feed: ServedFeed[RequestT, EventT],
        call: IncomingCall,
        checks: PresenceChecks,
    ) -> None:
        self._connection = connection
        self._feed = feed
        self._call = call
        self._signals = has_signals(call.headers)
        self._presence = checks.watch(
            call.reply_subject,
            alive=Reply(b"", ALIVE_HEADERS) if self._signals else None,
            on_gone=self._on_gone,
        )
        self._pause_at = 0.0  # at the first frame
        self._is_gone = False
        self._interruption: str | None = None
        self._task = asyncio.create_task(self._answer(), name=f"feed {feed.spec.name} {call.request_id}")
        self._task.add_done_callback(self._finish)

    @property
    def task(self) -> asyncio.Task[Reply | None]:
        """The task that runs the handler; its result is the last frame. It may be cancelled."""
        return self._task

    def interrupt(self, reason: str) -> None:
        """End the feed with an error that says why, unless it has ended."""
        if self._interruption is None and not self._is_gone:
            self._interruption = reason
            self._task.cancel()

    def _finish(self, task: asyncio.Task[Reply | None]) -> None:
        """Send the last frame. A callback, because a task that is cancelled before its first step runs nothing."""
        self._presence.stop()
        last = None if task.cancelled() or task.exception() is not None else task.result()
        if self._interruption is not None:
            last = self._feed.errors.reply_to_known(self._call, FeedInterrupted(self._interruption))
        if last is not None and not self._is_gone:
            self._send_last(last)

    async def _answer(self) -> Reply | None:
        """Send everything but the last frame, which is returned: an error, or the end for callers that want signals."""
        self._call = trace_call(self._call, self._feed.description)
        with self._call.span:
            return await self._run()

    async def _run(self) -> Reply | None:
        errors, call = self._feed.errors, self._call
        enter(call.carried)  # the task's own context: what the handler makes inherits it
        try:
            request = self._feed.request.decode(call.data)
        except InvalidPayload as error:
            return errors.reply_to_invalid(call, error)
        spec = self._feed.spec
        try:
            call = await check_caller(self._feed.admission, call, spec.subject, spec.capabilities)
        except RpcError as error:
            return errors.reply_to_refused(call, error)
        await self._send(b"", {**READY_HEADERS, **SIGNALS_HEADERS} if self._signals else READY_HEADERS)
        try:
            async with _closing(self._feed.handler(FeedContext.of_call(call), request)) as events:
                return await self._send_all(events)
        except asyncio.CancelledError as error:
            if self._interruption is not None or self._is_gone:
                raise
            return errors.reply_to_failure(call, UnexpectedError(), cause=error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is a frame
            return errors.reply_to_exception(call, error)

    async def _send_all(self, events: AsyncIterator[EventT]) -> Reply | None:
        errors, call = self._feed.errors, self._call
        async for event in events:
            if self._interruption is not None or self._is_gone:
                return None  # the handler went on after it was cancelled
            try:
                data = self._feed.event.encode(event)
            except InvalidPayload as error:
                return errors.reply_to_failure(call, invalid_response(error.issues), cause=error)
            try:
                await self._send(data)
            except PayloadTooLarge as error:
                return errors.refuse(call, str(error), level=logging.ERROR)
        return Reply(b"", END_HEADERS) if self._signals else None

    async def _send(self, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a frame; wait for the connection, and for space in its socket, first."""
        if monotonic() >= self._pause_at:
            self._pause_at = await self._feed.shares.pause()
        while True:
            if not self._connection.is_ready:
                await self._connection.wait_connected()
                await self._connection.wait_writable()
            try:
                self._connection.send(
                    self._call.reply_subject,
                    data,
                    headers=self._feed.errors.version.mark(headers),
                    reply=self._presence.inbox,
                )
            except NotConnected:
                continue
            self._presence.on_frame()
            return

    def _send_last(self, frame: Reply) -> None:
        try:
            headers = self._feed.errors.version.mark(frame.headers)
            self._connection.send(self._call.reply_subject, frame.data, headers=headers)
        except PayloadTooLarge as error:
            self._send_last(self._feed.errors.refuse(self._call, str(error), level=logging.ERROR))
        except NotConnected:
            _log.warning(
                'feed "%s": the last frame of request %s is lost: not connected',
                self._feed.spec.name,
                self._call.request_id,
                extra=self._log_fields(LogEvent.REPLY_LOST),
            )

    def _log_fields(self, event: LogEvent) -> dict[str, object]:
        return log_fields(event, feed=self._feed.spec.name, request_id=self._call.request_id)

    def _on_gone(self) -> None:
        self._is_gone = True
        _log.info(
            'feed "%s": the subscriber of request %s is gone',
            self._feed.spec.name,
            self._call.request_id,
            extra=self._log_fields(LogEvent.FEED_SUBSCRIBER_GONE),
        )
        self._task.cancel()


@asynccontextmanager
async def _closing(events: AsyncIterator[EventT]) -> AsyncGenerator[AsyncIterator[EventT]]:
    """Close a generator when its feed ends; another iterator has nothing to close."""
    try:
        yield events
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
