"""Reads the messages of a stream under one filter, with their bodies, in pages whose size the reader chooses.

The reader asks for each page, so it holds as much as it asked for and no more: a push consumer with flow control sends
up to 32 MiB ahead.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import split_ack_subject
from trellis_nats._nats.jetstream.api import API_TIMEOUT, JsonObject, api_subject
from trellis_nats._nats.jetstream.streams import create_consumer, delete_consumer
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.clock import to_nanoseconds
from trellis_nats.errors import NoResponders, RequestTimeout, TransportError
from trellis_nats.ids import new_id

__all__ = ["Page", "StreamPages"]

_ABANDONED: Final = timedelta(minutes=1)
"""After this time without a request, the server removes the consumer of a reader whose process died."""
_NO_MORE: Final = (404, 408)
"""The statuses of a request that found less than it asked for."""


class Page(NamedTuple):
    """Messages that follow each other."""

    messages: list[Message]
    is_last: bool
    """Whether the stream had no more at that moment."""


class StreamPages:
    """A short-lived consumer, read page by page. Open it again when it is lost: it continues after the last page."""

    def __init__(
        self, connection: Connection, stream: str, filter_subject: str, *, latest: bool = False
    ) -> None:
        """Prepare. With `latest`, read only the newest message of each subject; such a consumer is opened once."""
        self._connection = connection
        self._stream = stream
        self._filter_subject = filter_subject
        self._latest = latest
        self._sequence = 0
        """The last message that was read."""
        self._delivered = 0
        self._consumer = ""
        self._arrived: asyncio.Queue[Message | None] = asyncio.Queue()
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._remove_callback = connection.on_disconnect(lambda: self._arrived.put_nowait(None))

    async def open(self) -> None:
        """Create a consumer that begins after the last message that was read.

        Raises:
            PermissionDenied: the account may not create a consumer on the stream.
            ApiError: JetStream refused the consumer.
            RequestTimeout: the server did not answer.
            NotConnected: there was no connection.
        """
        await self._end()
        self._delivered = 0
        self._arrived = asyncio.Queue()
        start: JsonObject = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._sequence + 1}
        consumer = f"pages_{new_id()}"
        await create_consumer(
            self._connection,
            self._stream,
            {
                "durable_name": consumer,
                "filter_subject": self._filter_subject,
                **({"deliver_policy": "last_per_subject"} if self._latest else start),
                "ack_policy": "none",
                "mem_storage": True,
                "num_replicas": 1,
                "inactive_threshold": to_nanoseconds(_ABANDONED),
            },
        )
        self._consumer = consumer
        self._inbox = self._connection.new_inbox()
        self._subscription = self._connection.subscribe(self._inbox, self._arrived.put_nowait)

    async def read(self, size: int) -> Page:
        """Read up to `size` messages, as many as there are now.

        Raises:
            RequestTimeout: the link ended, a message was lost on the way, or no further one arrived for 5 s.
            NoResponders: the consumer is gone.
            NotConnected: there was no connection.
        """
        subject = api_subject(self._connection, f"CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}")
        body = json.dumps({"batch": size, "no_wait": True}).encode()
        self._connection.send(subject, body, reply=self._inbox)
        page = await self._collect(size)
        if page.messages:  # a page that was lost halfway is read again
            self._sequence = int(split_ack_subject(page.messages[-1].reply)[1])
        return page

    async def close(self) -> None:
        """Stop reading. The consumer is removed now, or by the server some time after the last request."""
        self._remove_callback()
        await self._end()

    async def _collect(self, size: int) -> Page:
        messages: list[Message] = []
        while len(messages) < size:
            message = await self._next(len(messages))
            if message.status in _NO_MORE:
                return Page(messages, is_last=True)
            if message.status == NO_RESPONDERS:
                raise NoResponders(f"consumer {self._consumer} of stream {self._stream} is gone")
            if message.status:
                raise RequestTimeout(f"reading stream {self._stream} was interrupted: {message.description}")
            self._delivered += 1
            if int(split_ack_subject(message.reply)[2]) != self._delivered:
                raise RequestTimeout(f"messages of stream {self._stream} were lost on the way")
            messages.append(message)
        return Page(messages, is_last=False)

    async def _next(self, count: int) -> Message:
        try:
            async with asyncio.timeout(API_TIMEOUT.total_seconds()):
                message = await self._arrived.get()
        except TimeoutError:
            message = None
        if message is None:
            raise RequestTimeout(f"no more of stream {self._stream} arrived after {count} messages of a page")
        return message

    async def _end(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        await subscription.unsubscribe()
        if self._connection.is_connected:
            with suppress(TransportError):  # the server removes the consumer a little later
                await delete_consumer(self._connection, self._stream, self._consumer)
