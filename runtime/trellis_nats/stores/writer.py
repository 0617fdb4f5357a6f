"""Writes the chunks of an object: in order, a bounded number at a time, and verified to be stored in order."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.object_names import chunk_subject, object_stream
from trellis_nats._nats.jetstream.publish import PubAck, begin_publish, publish_acked
from trellis_nats._nats.jetstream.repeat_write import repeat_write
from trellis_nats._nats.jetstream.streams import count_messages
from trellis_nats._nats.readiness import wait_ready
from trellis_nats.errors import NoResponders, NotConnected, WriteUnknown

__all__ = ["ChunkWriter"]

_WINDOW_BYTES: Final = 2 * 1024 * 1024
"""How much may wait for acknowledgements."""


@dataclass(kw_only=True, slots=True)
class _Sent:
    number: int
    data: bytes
    ack: asyncio.Future[PubAck]


class ChunkWriter:
    """The chunks of one new object. The order of the chunks in the stream is the content, so it is checked."""

    def __init__(self, connection: Connection, bucket: str, object_id: str, *, timeout: timedelta) -> None:
        self.count = 0
        """How many chunks were written."""
        self._connection = connection
        self._stream = object_stream(bucket)
        self._subject = chunk_subject(bucket, object_id)
        self._object_id = object_id
        self._timeout = timeout
        self._window: deque[_Sent] = deque()
        self._window_bytes = 0
        self._last_sequence = 0
        self._was_resent = False

    async def write(self, data: bytes) -> None:
        """Send a chunk; wait first while 2 MiB wait for acknowledgements.

        Raises:
            WriteUnknown: earlier chunks were not acknowledged, or not stored in order.
            TransportError: the server did not accept a chunk.
        """
        while self._window and self._window_bytes + len(data) > _WINDOW_BYTES:
            await self._settle_oldest()
        ack = await self._send(self.count, data)
        self._window.append(_Sent(number=self.count, data=data, ack=ack))
        self._window_bytes += len(data)
        self.count += 1

    async def finish(self) -> None:
        """Wait until every chunk is stored. Raises as `write`."""
        while self._window:
            await self._settle_oldest()
        if self._was_resent:
            stored = await count_messages(self._connection, self._stream, self._subject)
            if stored != self.count:  # the stream's window for duplicates is too short for the outage
                raise self._out_of_order()

    async def abandon(self) -> None:
        """Wait until nothing is on the way any longer, so that a purge removes all chunks."""
        if self._window:
            await asyncio.wait([sent.ack for sent in self._window])
            for sent in self._window:
                if not sent.ack.cancelled():
                    sent.ack.exception()  # counts as retrieved
            self._window.clear()

    async def _send(self, number: int, data: bytes) -> asyncio.Future[PubAck]:
        """Send a chunk when there is a connection. Nothing is awaited between its check and the sending."""
        while True:
            if not self._connection.is_ready:
                due = self._connection.loop.time() + self._timeout.total_seconds()
                await wait_ready(self._connection, due, self._subject)
            try:
                return begin_publish(
                    self._connection,
                    self._subject,
                    data,
                    message_id=self._message_id(number),
                    timeout=self._timeout,
                )
            except NotConnected:  # the link ended in this very turn
                continue

    async def _settle_oldest(self) -> None:
        sent = self._window[0]
        try:
            ack = await asyncio.shield(sent.ack)
        except (WriteUnknown, NoResponders):
            ack = await self._resend()
        if ack.sequence <= self._last_sequence:
            raise self._out_of_order()
        self._last_sequence = ack.sequence
        self._window.popleft()
        self._window_bytes -= len(sent.data)

    async def _resend(self) -> PubAck:
        """Send the window again, in order: the stream ignores what it has, by the message ids.

        The oldest chunk goes alone, and the others after its acknowledgement, so that nothing overtakes it.
        """
        self._was_resent = True
        await asyncio.wait([sent.ack for sent in self._window])
        oldest, *others = self._window
        ack = await repeat_write(
            lambda: publish_acked(
                self._connection,
                self._subject,
                oldest.data,
                message_id=self._message_id(oldest.number),
                timeout=self._timeout,
            ),
            what=self._subject,
        )
        for sent in others:
            if sent.ack.exception() is not None:
                sent.ack = await self._send(sent.number, sent.data)
        return ack

    def _message_id(self, number: int) -> str:
        return f"{self._object_id}.{number}"

    def _out_of_order(self) -> WriteUnknown:
        return WriteUnknown(
            f'chunks of "{self._subject}" were not stored in order during an outage; write the object again'
        )
