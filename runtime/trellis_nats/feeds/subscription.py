"""The caller's side of an open feed: its buffer, and the iterator over its events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Generic, Self, TypeVar

from trellis_nats._calls.error_codec import ErrorCodec
from trellis_nats._nats.wire.message import Message, memory_of
from trellis_nats._versions import ContractVersion
from trellis_nats.codec import Codec
from trellis_nats.errors import FeedInterrupted, InvalidPayload
from trellis_nats.feeds.frames import Frame, interpret_frame

__all__ = ["FeedBuffer", "FeedSubscription"]

EventT = TypeVar("EventT")

_FRAMES_MAX: Final = 4096
_BYTES_MAX: Final = 64 * 1024 * 1024


class FeedBuffer:
    """Keeps frames in order until they are taken. When it is full, the feed ends: an event is never left out silently."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last_arrival = self._loop.time()
        self._frames: deque[tuple[Message, int]] = deque()  # with the memory that they take
        self._bytes = 0
        self._end: str | None = None
        self._changed = asyncio.Event()

    def put(self, frame: Message) -> None:
        """Add a frame, unless the feed has ended."""
        self._last_arrival = self._loop.time()
        if self._end is not None or interpret_frame(frame) is Frame.ALIVE:
            return
        size_bytes = memory_of(frame.data, frame.headers)
        if len(self._frames) >= _FRAMES_MAX or self._bytes + size_bytes > _BYTES_MAX:
            self.end("the reader is too slow; events are missing")
            return
        self._frames.append((frame, size_bytes))
        self._bytes += size_bytes
        self._changed.set()

    def end(self, reason: str) -> None:
        """Let the reader take what has arrived, and then fail."""
        self._end = self._end or reason
        self._changed.set()

    async def take(self, *, silent_after: timedelta | None) -> Message:
        """Take the oldest frame; wait for one, and for no longer than `silent_after` since the last one arrived.

        Raises:
            FeedInterrupted: the feed has ended, or is silent, and all its frames are taken.
        """
        while not self._frames:
            if self._end is not None:
                raise FeedInterrupted(self._end)
            self._changed.clear()
            await self._wait(silent_after)
        frame, size_bytes = self._frames.popleft()
        self._bytes -= size_bytes
        return frame

    async def _wait(self, silent_after: timedelta | None) -> None:
        due = None if silent_after is None else self._last_arrival + silent_after.total_seconds()
        try:
            async with asyncio.timeout_at(due):
                await self._changed.wait()
        except TimeoutError:
            if (
                silent_after is not None
                and self._loop.time() >= self._last_arrival + silent_after.total_seconds()
            ):
                self.end("the service is silent")


class FeedSubscription(Generic[EventT]):
    """The events of an open feed, for `async for`. It ends with its `async with` block."""

    def __init__(
        self,
        events: Codec[EventT],
        errors: ErrorCodec,
        version: ContractVersion,
        buffer: FeedBuffer,
        require_own_loop: Callable[[], None],
        *,
        silent_after: timedelta | None,
    ) -> None:
        self._require_own_loop = require_own_loop
        self._events = events
        self._errors = errors
        self._version = version
        self._buffer = buffer
        self._silent_after = silent_after
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventT:
        """Return the next event; wait for it.

        Raises:
            StopAsyncIteration: the handler of a service written in Python returned. Other runtimes do not tell.
            InvalidPayload: an event does not match its schema. The feed stays open: the next call returns the next event.
            FeedInterrupted: the feed ended although its handler did not; events may be missing.
            DeclaredError: the service raised one of the errors of its contract; as the generated class.
            UnexpectedError: the handler failed; the service's log has the details under the error's id.
            RpcError: the service raised another error.
        """
        self._require_own_loop()
        while not self._ended:
            frame = await self._take()
            match interpret_frame(frame):
                case Frame.EVENT:
                    return self._decode(frame)
                case Frame.END:
                    self._ended = True
                case Frame.ERROR:
                    self._ended = True
                    raise self._errors.decode(frame.data)
                case Frame.READY | Frame.ALIVE | Frame.NO_SERVICE:
                    continue
        raise StopAsyncIteration

    def _decode(self, frame: Message) -> EventT:
        try:
            return self._events.decode(frame.data)
        except InvalidPayload as error:
            raise self._version.explain(error, frame.headers) from None

    async def _take(self) -> Message:
        try:
            return await self._buffer.take(silent_after=self._silent_after)
        except FeedInterrupted:
            self._ended = True
            raise
