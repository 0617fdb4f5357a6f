"""Reads many messages of a stream as fast as one client can: a short-lived consumer without acknowledgements.

The next page is requested before the last one is processed, so that the server and the client work at the same time. A page
is limited in messages and in bytes: a reader that is slow holds two pages and never falls so far behind that the server drops
the connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, NamedTuple, Self

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import split_ack_subject
from trellis_nats._nats.jetstream.api import API_TIMEOUT, api_subject
from trellis_nats._nats.jetstream.streams import create_consumer, delete_consumer
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.clock import to_nanoseconds
from trellis_nats.errors import NoResponders, NotConnected, PermissionDenied, RequestTimeout, TransportError
from trellis_nats.ids import new_id

__all__ = ["BulkReader", "Stored"]

_PAGE: Final = 2_000
_PAGE_BYTES: Final = 8 * 1024 * 1024
"""An eighth of what a server holds for a client before it drops the connection."""
_ABANDONED: Final = timedelta(seconds=30)
"""After this time without a request, the server removes the consumer of a reader whose process died."""
_ATTEMPTS: Final = 5
"""How often in a row reading is resumed without a message in between: an election takes a few seconds."""
_PAUSE: Final = 1.0
"""Seconds before it is resumed."""
_NO_MORE: Final = (404, 408)
_PAGE_FULL: Final = "batch completed"
_TOO_LARGE: Final = "message size exceeds maxbytes"


class Stored(NamedTuple):
    """A message and its place in the stream."""

    sequence: int
    message: Message


class BulkReader:
    """Reads what a stream holds under some filters, in order. Use it as a context manager."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        filters: Sequence[str],
        *,
        after: int = 0,
        until: int | None = None,
        headers_only: bool = False,
    ) -> None:
        """Prepare to read what the stream holds after a sequence, and up to one. The filters must not overlap."""
        self.left = 0
        """How many messages are still to be read, of those that the stream held when reading began."""
        self._connection = connection
        self._stream = stream
        self._filters = list(filters)
        self._headers_only = headers_only
        self._sequence = after
        self._until = until
        self._delivered = 0
        self._consumer = ""
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._size = 0
        """How many messages the request under way may bring; 0 when none is."""
        self._is_one_large = False
        self._page: list[Message] = []
        self._ended: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        """The end of the request under way: its status, or None for a full page."""
        self._removers = [
            connection.on_disconnect(lambda: self._fail(NotConnected("the connection was lost"))),
            connection.on_permission_error(self._on_violation),
        ]

    async def __aenter__(self) -> Self:
        """Create the consumer.

        Raises:
            PermissionDenied: the account may not create a consumer on the stream.
            ApiError: JetStream refused the consumer, for instance because there is no such stream.
            TransportError: JetStream did not answer.
        """
        try:
            self.left = await self._open()
        except BaseException:
            self._remove_callbacks()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Remove the consumer."""
        self._remove_callbacks()
        await self._close()

    async def read(self) -> list[Stored]:
        """Return the next messages, up to 2,000 of them or 8 MiB; none when everything was read.

        Where the consumer is lost, for instance with its server, another one continues after the last message. The last page
        may have messages beyond `until`.

        Raises:
            PermissionDenied: the account may not request messages.
            RequestTimeout: the server did not answer, several times in a row.
        """
        for _ in range(_ATTEMPTS):
            try:
                return await self._read()
            except PermissionDenied:
                raise
            except TransportError:
                await asyncio.sleep(_PAUSE)
                with suppress(RequestTimeout, NoResponders, NotConnected):
                    self.left = min(self.left, await self._open())
        raise RequestTimeout(f"reading stream {self._stream} was interrupted {_ATTEMPTS} times in a row")

    async def _read(self) -> list[Stored]:
        while self._next_size > 0:
            if not self._size:
                self._request()
            status = await self._wait()
            self._size = 0
            messages, self._page = self._page, []
            stored = self._check(messages)
            self.left -= len(stored)
            self._interpret(status, is_empty=not stored)
            if stored:
                if self._next_size > 0:
                    self._request()
                return stored
        return []

    @property
    def _next_size(self) -> int:
        """How many messages the next request asks for. There are at most as many as there are sequences."""
        size = min(_PAGE, self.left)
        return size if self._until is None else min(size, self._until - self._sequence)

    @property
    def _request_subject(self) -> str:
        return api_subject(self._connection, f"CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}")

    def _request(self) -> None:
        size = self._next_size
        max_bytes = max(_PAGE_BYTES, 2 * self._connection.max_payload)
        limits: dict[str, JsonValue] = {"batch": size, "max_bytes": max_bytes}
        if self._is_one_large:
            size, self._is_one_large = 1, False
            limits = {"batch": 1}
        self._size = size
        self._ended = asyncio.get_running_loop().create_future()
        body = json.dumps({**limits, "no_wait": True}).encode()
        self._connection.send(self._request_subject, body, reply=self._inbox)

    async def _wait(self) -> Message | None:
        """Wait for the end of the request, as long as messages arrive.

        Raises:
            RequestTimeout: nothing arrived for 5 s.
            NotConnected: the connection was lost.
            PermissionDenied: the account may not send the request.
        """
        count = -1
        while not self._ended.done():
            if len(self._page) == count:
                raise RequestTimeout(f"no more of stream {self._stream} arrived")
            count = len(self._page)
            await asyncio.wait([self._ended], timeout=API_TIMEOUT.total_seconds())
        return self._ended.result()

    def _interpret(self, status: Message | None, *, is_empty: bool) -> None:
        if status is None:
            return
        text = status.description.lower()
        if status.status in _NO_MORE:
            if is_empty:
                self.left = 0  # the rest was purged
        elif text.startswith(_TOO_LARGE):
            self._is_one_large = True
        elif not text.startswith(_PAGE_FULL) and is_empty:
            if status.status == NO_RESPONDERS:
                raise NoResponders(f"consumer {self._consumer} of stream {self._stream} is gone")
            raise RequestTimeout(f"reading stream {self._stream} was interrupted: {status.description}")

    def _check(self, messages: list[Message]) -> list[Stored]:
        stored: list[Stored] = []
        for number, message in enumerate(messages, self._delivered + 1):
            _, sequence, delivered, _, _ = split_ack_subject(message.reply)
            if int(delivered) != number:
                raise RequestTimeout(f"messages of stream {self._stream} were lost on the way")
            stored.append(Stored(int(sequence), message))
        if stored:
            self._delivered += len(stored)
            self._sequence = stored[-1].sequence
        return stored

    def _on_message(self, message: Message) -> None:
        if self._ended.done():
            return
        if message.status:
            self._ended.set_result(message)
            return
        self._page.append(message)
        if len(self._page) == self._size:
            self._ended.set_result(None)

    def _fail(self, error: TransportError) -> None:
        if self._size and not self._ended.done():
            self._ended.set_exception(error)

    def _on_violation(self, violation: PermissionViolation) -> bool:
        is_ours = violation.subject.endswith(self._consumer.lower()) if self._consumer else False
        if is_ours:
            self._fail(PermissionDenied(violation.operation, self._request_subject))
        return is_ours

    async def _open(self) -> int:
        """Create a consumer that begins after the last message that was read. Return how many it will deliver."""
        await self._close()
        consumer = f"bulk_{new_id()}"
        info = await create_consumer(
            self._connection,
            self._stream,
            {
                "name": consumer,
                "filter_subjects": list(self._filters),
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self._sequence + 1,
                "ack_policy": "none",
                "headers_only": self._headers_only,
                "mem_storage": True,
                "num_replicas": 1,
                "inactive_threshold": to_nanoseconds(_ABANDONED),
            },
        )
        self._consumer = consumer
        self._delivered = self._size = 0
        self._page = []
        self._inbox = self._connection.new_inbox()
        self._subscription = self._connection.subscribe(self._inbox, self._on_message)
        return info.pending

    async def _close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        await subscription.unsubscribe()
        if self._connection.is_connected:
            with suppress(TransportError):  # the server removes the consumer a little later
                await delete_consumer(self._connection, self._stream, self._consumer)

    def _remove_callbacks(self) -> None:
        for remove in self._removers:
            remove()
