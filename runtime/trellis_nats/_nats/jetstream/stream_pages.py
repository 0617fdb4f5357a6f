"""Reads the messages of a stream under one filter, with their bodies, in pages whose size the reader chooses.

The reader asks for each page, so it holds as much as it asked for and no more: a push consumer with flow control sends
up to 32 MiB ahead. Where the account may not pull, each message is read by a request of its own: control planes grant
other clients' push consumers, and these requests.
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
from trellis_nats._nats.jetstream.streams import (
    StoredMessage,
    create_consumer,
    delete_consumer,
    get_next_message_from_leader,
)
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.clock import from_unix_nanoseconds, to_nanoseconds
from trellis_nats.errors import NoResponders, PermissionDenied, RequestTimeout, TransportError
from trellis_nats.ids import new_id

__all__ = ["Page", "StreamPages"]

_ABANDONED: Final = timedelta(minutes=1)
"""After this time without a request, the server removes the consumer of a reader whose process died."""
_NO_MORE: Final = (404, 408)
"""The statuses of a request that found less than it asked for."""


class Page(NamedTuple):
    """Messages that follow each other."""

    messages: list[StoredMessage]
    is_last: bool
    """Whether the stream had no more at that moment."""


class StreamPages:
    """A short-lived consumer, read page by page. Open it again when it is lost: it continues after the last page."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        filter_subject: str,
        *,
        latest: bool = False,
        may_pull: bool = True,
    ) -> None:
        """Prepare.

        Args:
            connection: where the stream is.
            stream: its name.
            filter_subject: what to read.
            latest: read only the newest message of each subject; such a consumer is opened once. Where the account may not
                pull, older ones are read too.
            may_pull: whether the account may create a consumer and pull from it, as far as is known.
        """
        self._connection = connection
        self._stream = stream
        self._filter_subject = filter_subject
        self._latest = latest
        self._may_pull = may_pull
        self._sequence = 0
        """The last message that was read."""
        self._delivered = 0
        self._consumer = ""
        self._arrived: asyncio.Queue[Message | PermissionDenied | None] = asyncio.Queue()
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._removers = [
            connection.on_disconnect(lambda: self._arrived.put_nowait(None)),
            connection.on_permission_error(self._on_violation),
        ]

    async def open(self) -> None:
        """Create a consumer that begins after the last message that was read.

        Raises:
            ApiError: JetStream refused the consumer.
            RequestTimeout: the server did not answer.
            NotConnected: there was no connection.
        """
        await self._end()
        if not self._may_pull:
            return
        self._delivered = 0
        self._arrived = asyncio.Queue()
        start: JsonObject = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._sequence + 1}
        consumer = f"pages_{new_id()}"
        config: JsonObject = {
            "durable_name": consumer,
            "filter_subject": self._filter_subject,
            **({"deliver_policy": "last_per_subject"} if self._latest else start),
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": to_nanoseconds(_ABANDONED),
        }
        try:
            await create_consumer(self._connection, self._stream, config)
        except PermissionDenied:
            self._may_pull = False
            return
        self._consumer = consumer
        self._inbox = self._connection.new_inbox()
        self._subscription = self._connection.subscribe(self._inbox, self._arrived.put_nowait)

    async def read(self, size: int) -> Page:
        """Read up to `size` messages, as many as there are now.

        Raises:
            PermissionDenied: the account may not read messages one by one either.
            RequestTimeout: the link ended, a message was lost on the way, or no further one arrived for 5 s.
            NoResponders: the consumer is gone.
            NotConnected: there was no connection.
        """
        page = await self._pull(size) if self._may_pull else None
        if page is None:
            page = await self._read_one_by_one(size)
        if page.messages:  # a page that was lost halfway is read again
            self._sequence = page.messages[-1].sequence
        return page

    async def close(self) -> None:
        """Stop reading. The consumer is removed now, or by the server some time after the last request."""
        for remove in self._removers:
            remove()
        await self._end()

    async def _pull(self, size: int) -> Page | None:
        """Read a page from the consumer. None: the account may not."""
        body = json.dumps({"batch": size, "no_wait": True}).encode()
        self._connection.send(self._pull_subject, body, reply=self._inbox)
        try:
            return await self._collect(size)
        except PermissionDenied:
            self._may_pull = False
            await self._end()
            return None

    async def _read_one_by_one(self, size: int) -> Page:
        messages: list[StoredMessage] = []
        start = self._sequence + 1
        while len(messages) < size:
            message = await get_next_message_from_leader(
                self._connection, self._stream, self._filter_subject, start
            )
            if message is None:
                return Page(messages, is_last=True)
            messages.append(message)
            start = message.sequence + 1
        return Page(messages, is_last=False)

    @property
    def _pull_subject(self) -> str:
        return api_subject(self._connection, f"CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}")

    def _on_violation(self, violation: PermissionViolation) -> bool:
        is_own = self._consumer != "" and violation == PermissionViolation(
            "publish to", self._pull_subject.lower()
        )
        if is_own:
            self._arrived.put_nowait(PermissionDenied("publish to", self._pull_subject))
        return is_own

    async def _collect(self, size: int) -> Page:
        messages: list[StoredMessage] = []
        while len(messages) < size:
            message = await self._next(len(messages))
            if message.status in _NO_MORE:
                return Page(messages, is_last=True)
            if message.status == NO_RESPONDERS:
                raise NoResponders(f"consumer {self._consumer} of stream {self._stream} is gone")
            if message.status:
                raise RequestTimeout(f"reading stream {self._stream} was interrupted: {message.description}")
            self._delivered += 1
            _, sequence, delivered, stored_ns, _ = split_ack_subject(message.reply)
            if int(delivered) != self._delivered:
                raise RequestTimeout(f"messages of stream {self._stream} were lost on the way")
            stored = from_unix_nanoseconds(int(stored_ns))
            messages.append(
                StoredMessage(message.subject, int(sequence), message.data, message.headers, stored)
            )
        return Page(messages, is_last=False)

    async def _next(self, count: int) -> Message:
        try:
            async with asyncio.timeout(API_TIMEOUT.total_seconds()):
                message = await self._arrived.get()
        except TimeoutError:
            message = None
        if isinstance(message, PermissionDenied):
            raise message
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
