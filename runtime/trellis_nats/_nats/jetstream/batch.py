"""Atomic batches: a stream stores all messages of a batch, or none (nats-server 2.12)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import PubAck, publish_acked
from trellis_nats._nats.link.backoff import Backoff
from trellis_nats._nats.readiness import wait_jetstream, wait_ready
from trellis_nats._nats.wire.outgoing import encode_publish
from trellis_nats.errors import ApiError, NoResponders, NotConnected
from trellis_nats.ids import new_id

__all__ = [
    "BATCHES_OFF",
    "BATCH_ALREADY_STORED",
    "BATCH_MAX",
    "Batch",
    "BatchMessage",
    "publish_batch",
    "supports_batch",
]

BATCH_MAX: Final = 1000
"""The most messages of one batch that a server accepts."""
BATCHES_OFF: Final = 10174
"""The server's error code for a batch to a stream without `allow_atomic`; nothing was stored."""
BATCH_ALREADY_STORED: Final = 10201
"""The server's error code for a batch with a message id that is stored; nothing more was stored."""
_CROWDED: Final = (10176, 10210)
"""The server's error codes when more than 50 batches are open on a stream (2.12 uses the first one, which also means that
the server dropped an unfinished batch); nothing was stored."""
_CROWDED_WITHIN: Final = timedelta(seconds=30)
"""How long other batches may keep this one from being stored."""
_PAUSE_FIRST: Final = timedelta(milliseconds=20)
_PAUSE_LONGEST: Final = timedelta(seconds=1)
_BATCH_SINCE: Final = (2, 12, 0)
"""Older servers ignore the headers and store the messages one by one (faults.md, B.5)."""
_PIECE_BYTES: Final = 64 * 1024
"""How much is written at once: the server starts on the first messages, and a write costs as much as encoding 20 of them."""


class BatchMessage(NamedTuple):
    """One message of a batch."""

    subject: str
    data: bytes
    headers: bytes
    """Encoded lines."""


class _Encoded(NamedTuple):
    """A batch as the protocol has it, for a server with this limit."""

    max_payload_bytes: int
    pieces: list[bytes]
    """The commands of all messages but the last, many in each."""
    closing: bytes
    """The headers of the last message, which commits the batch."""


class Batch:
    """The messages of a batch, encoded before the first one is sent: a message that is too large leaves no open batch."""

    def __init__(self, messages: Sequence[BatchMessage], *, max_payload_bytes: int) -> None:
        """Encode 1 to `BATCH_MAX` messages for a server with this limit.

        Raises:
            PayloadTooLarge: a message exceeds the limit.
            ValueError: the batch is empty or too long, or a subject is malformed.
        """
        if not 1 <= len(messages) <= BATCH_MAX:
            raise ValueError(f"a batch has 1 to {BATCH_MAX} messages, got {len(messages)}")
        self._messages = messages
        self._unused: _Encoded | None = _encode(messages, max_payload_bytes)

    @property
    def last(self) -> BatchMessage:
        """The message that commits the batch."""
        return self._messages[-1]

    def take(self, max_payload_bytes: int) -> tuple[list[bytes], bytes]:
        """Return the pieces to send, and the headers of the last message. Each time, the batch has another id.

        The server may still hold a part of the batch under the id that was used before.

        Raises:
            PayloadTooLarge: a message exceeds the limit, which is another one since a reconnect.
        """
        encoded, self._unused = self._unused, None
        if encoded is None or encoded.max_payload_bytes != max_payload_bytes:
            encoded = _encode(self._messages, max_payload_bytes)
        return encoded.pieces, encoded.closing


def _encode(messages: Sequence[BatchMessage], max_payload_bytes: int) -> _Encoded:
    batch_id = b"Nats-Batch-Id: %b\r\nNats-Batch-Sequence: " % new_id().encode()
    pieces = list(_pieces(messages[:-1], batch_id, max_payload_bytes))
    last = messages[-1]
    closing = b"%b%b%d\r\nNats-Batch-Commit: 1\r\n" % (last.headers, batch_id, len(messages))
    encode_publish(last.subject, last.data, closing, "", max_payload_bytes)  # for its checks
    return _Encoded(max_payload_bytes, pieces, closing)


def _pieces(messages: Sequence[BatchMessage], batch_id: bytes, max_payload_bytes: int) -> Iterator[bytes]:
    piece: list[bytes] = []
    size_bytes = 0
    for number, (subject, data, headers) in enumerate(messages, start=1):
        lines = b"%b%b%d\r\n" % (headers, batch_id, number)
        command = encode_publish(subject, data, lines, "", max_payload_bytes)
        piece.append(command)
        size_bytes += len(command)
        if size_bytes >= _PIECE_BYTES:
            yield b"".join(piece)
            piece.clear()
            size_bytes = 0
    if piece:
        yield b"".join(piece)


def supports_batch(connection: Connection) -> bool:
    """Return whether the server supports atomic batches."""
    return connection.server_version >= _BATCH_SINCE


async def publish_batch(connection: Connection, batch: Batch, *, timeout: timedelta) -> PubAck:
    """Publish a batch, and return when all its messages are stored.

    The last message is fenced: it is stored only if its subject has no message yet. So a batch whose acknowledgement
    was lost can be repeated: if the first one was stored, the repeat is refused as a whole. While other batches keep
    the stream from accepting this one, it is sent again, for 30 s.

    Raises:
        WriteUnknown: no acknowledgement arrived; all messages may be stored, or none.
        WrongLastSequence: the last message's subject has a message; nothing was stored.
        ApiError: the stream refused the batch; nothing was stored. Its code may be `BATCHES_OFF`.
        PayloadTooLarge: a message exceeds the limit of the server, which is another one; nothing was stored.
        NotConnected: there was no connection within `timeout`; nothing was stored.
        NoResponders: no stream listens; nothing was stored.
    """
    due = connection.loop.time() + _CROWDED_WITHIN.total_seconds()
    pauses = Backoff(_PAUSE_FIRST, _PAUSE_LONGEST)
    while True:
        try:
            return await _publish(connection, batch, timeout)
        except ApiError as error:
            if error.err_code not in _CROWDED or connection.loop.time() > due:
                raise
        await asyncio.sleep(pauses.next().total_seconds())


async def _publish(connection: Connection, batch: Batch, timeout: timedelta) -> PubAck:
    loop = connection.loop
    due = loop.time() + timeout.total_seconds()
    absent_since = 0.0
    while True:
        await wait_ready(connection, due, batch.last.subject)
        try:
            return await _send(connection, batch, timedelta(seconds=max(0.0, due - loop.time())))
        except NotConnected:  # the server drops what it has of the batch
            if loop.time() >= due:
                raise
        except NoResponders:  # the server has none of the messages: all of them are sent again
            absent_since = absent_since or loop.time()
            if not await wait_jetstream(connection, due, absent_since):
                raise


async def _send(connection: Connection, batch: Batch, timeout: timedelta) -> PubAck:
    last, link = batch.last, connection.link
    pieces, closing = batch.take(connection.max_payload)
    for piece in pieces:
        if not connection.is_ready:
            await connection.wait_writable()
        if link is None or link is not connection.link:
            raise NotConnected(f'the connection was lost before a batch to "{last.subject}" was sent')
        link.send(piece)
    return await publish_acked(
        connection,
        last.subject,
        last.data,
        headers=closing,
        expected_last_on_subject=0,
        timeout=timeout,
        waits_for_jetstream=False,
    )
