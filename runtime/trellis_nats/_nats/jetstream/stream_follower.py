"""Follows a stream: its messages as they are stored, in order, across reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import api_subject
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.delivery import Delivery
from trellis_nats._nats.jetstream.pull import Pull
from trellis_nats._nats.jetstream.streams import create_consumer, delete_consumer
from trellis_nats._nats.outages import through_outages
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats.clock import to_nanoseconds
from trellis_nats.errors import (
    ApiError,
    NoResponders,
    NotConnected,
    PermissionDenied,
    RequestTimeout,
    TransportError,
)
from trellis_nats.ids import new_id

__all__ = ["follow_stream"]

_BUFFER_MAX: Final = 256
"""How many messages wait in memory for a slow reader; the server keeps the rest."""
_BUFFER_BYTES: Final = 32 * 1024 * 1024
"""How large they may be together: a server ends a connection that has 64 MiB under way (`read_budget`)."""
_SHARED_MAX: Final = 1024
"""How many messages may be under way to all followers of a connection, for the same reason: a thousand that begin at once, as after
a restart of a service, have it cut again and again."""
_SHARE_MIN: Final = 4
"""How many of these each follower may have in any case."""
_ABANDONED: Final = timedelta(minutes=1)
"""After this time without a pull request, the server removes the consumer of a follower whose process died."""
_RETRY: Final = timedelta(milliseconds=100)
"""The pause between attempts to create the consumer again after a reconnect, while the stream has no leader."""


@asynccontextmanager
async def follow_stream(
    connection: Connection, stream: str, filter_subject: str, *, after: int | None, latest: bool = False
) -> AsyncGenerator[AsyncGenerator[Delivery, None], None]:
    """Follow the messages under a filter after a sequence; None follows the messages stored from now on.

    With `latest`, and no sequence, begin with the newest message of each subject. Outages delay it, also the first one.

    Raises:
        PermissionDenied: the account may not create a consumer on the stream, or may not pull from it; in the second case
            the messages raise it. Rights that are taken away later delay the messages, until they are given back.
        ApiError: JetStream refused the consumer.
        NotConnected: the connection was closed.
    """
    follower = _StreamFollower(connection, stream, filter_subject, after, latest=latest)
    try:
        await through_outages(connection, follower.open, what=f"following {filter_subject}")
        yield follower.messages()
    finally:
        await follower.close()


class _StreamFollower:
    """Reads the stream through short-lived consumers; each begins where the last one ended."""

    def __init__(
        self, connection: Connection, stream: str, filter_subject: str, after: int | None, *, latest: bool
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._filter_subject = filter_subject
        self._latest = latest
        self._sequence = after
        """The last message that was read; None until the first consumer reports where "new" begins."""
        self._buffer: asyncio.Queue[Delivery | TransportError | None] = asyncio.Queue()
        self._has_received = False
        self._pull: Pull | None = None
        self._consumer = ""
        connection.followers += 1
        self._removers = [
            connection.on_reconnect(self._mark_gap),
            connection.on_permission_error(self._on_violation),
            connection.on_close(lambda error: self._buffer.put_nowait(error)),  # noqa: PLW0108 - `open` replaces it
        ]

    async def open(self) -> None:
        """Create a consumer that begins after the last message that was read, and pull from it."""
        self._buffer = asyncio.Queue()
        if self._sequence is not None:
            await self._create_after(self._sequence)
        elif self._latest:
            await self._create(deliver_policy="last_per_subject")
        else:
            self._sequence = (await self._create(deliver_policy="new")).delivered_sequence
        self._pull = Pull(
            self._connection,
            stream=self._stream,
            consumer=self._consumer,
            deliver=self._buffer.put_nowait,
            on_missing=self._mark_gap,
            is_quiet=True,
        )
        self._pull.start()
        self._pull.set_capacity(self._room)

    async def _create_after(self, sequence: int) -> None:
        await self._create(deliver_policy="by_start_sequence", opt_start_seq=sequence + 1)

    async def _create(self, **start: JsonValue) -> ConsumerInfo:
        self._consumer = f"follow_{new_id()}"
        return await create_consumer(
            self._connection,
            self._stream,
            {
                "durable_name": self._consumer,
                "filter_subject": self._filter_subject,
                "ack_policy": "none",
                "inactive_threshold": to_nanoseconds(_ABANDONED),
                "mem_storage": True,
                "num_replicas": 1,
                **start,
            },
        )

    async def messages(self) -> AsyncGenerator[Delivery, None]:
        """Yield the messages; after a reconnect, continue with a new consumer."""
        while True:
            message = await self._buffer.get()
            if message is None:
                await self._reopen()
                continue
            if isinstance(message, TransportError):
                raise message
            self._has_received = True
            self._sequence = message.stream_sequence
            yield message
            if self._pull is not None:
                self._pull.set_capacity(self._room)

    @property
    def _room(self) -> int:
        """How many more messages may be under way or wait, even if each is as large as the server accepts."""
        share = max(_SHARE_MIN, _SHARED_MAX // self._connection.followers)
        at_most = min(_BUFFER_MAX, share, max(1, _BUFFER_BYTES // self._connection.max_payload))
        return max(0, at_most - self._buffer.qsize())

    async def close(self) -> None:
        """Stop reading. The consumer is removed now, or by the server some time after the last pull request."""
        self._connection.followers -= 1
        for remove in self._removers:
            remove()
        await self._end()

    def _on_violation(self, violation: PermissionViolation) -> bool:
        subject = api_subject(self._connection, f"CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}")
        if self._has_received or violation != PermissionViolation("publish to", subject.lower()):
            return False
        self._buffer.put_nowait(PermissionDenied("publish to", subject))
        return False  # the pull wants to know too

    def _mark_gap(self) -> None:
        # What was under way when the link ended is lost: a consumer without acks does not redeliver it. A consumer is
        # removed while a slow reader requests nothing for a minute.
        self._buffer.put_nowait(None)

    async def _reopen(self) -> None:
        await self._end()
        while True:
            try:
                await self._check_position()
                await self.open()
            except (RequestTimeout, NoResponders, NotConnected, ApiError):
                await self._connection.wait_connected()
                await asyncio.sleep(_RETRY.total_seconds())
            else:
                return

    async def _check_position(self) -> None:
        """Begin with what each subject has, if the stream was created again or rolled back: its sequences are lower then.

        A replica that is behind looks the same. So this is not for readers that want each message once.
        """
        if not self._latest or self._sequence is None:
            return
        newest = (await self._create(deliver_policy="new")).delivered_sequence
        await self._delete()
        if newest is not None and newest < self._sequence:
            self._sequence = None

    async def _end(self) -> None:
        if self._pull is not None:
            await self._pull.stop()
        if not self._connection.is_connected:
            return  # the server removes the consumer
        await self._delete()

    async def _delete(self) -> None:
        try:
            await delete_consumer(self._connection, self._stream, self._consumer)
        except TransportError:
            return
