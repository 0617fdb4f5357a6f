"""Atomic batches: a stream stores all messages of a batch, or none (nats-server 2.12)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import PubAck, publish_acked
from trellis_nats._nats.link.backoff import Backoff
from trellis_nats._nats.readiness import wait_jetstream, wait_ready
from trellis_nats._nats.wire.headers import encode_lines
from trellis_nats.errors import ApiError, NoResponders
from trellis_nats.ids import new_id

__all__ = [
    "BATCHES_OFF",
    "BATCH_ALREADY_STORED",
    "BATCH_MAX",
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


class BatchMessage(NamedTuple):
    """One message of a batch."""

    subject: str
    data: bytes
    headers: bytes
    """Encoded lines."""


def supports_batch(connection: Connection) -> bool:
    """Return whether the server supports atomic batches."""
    return connection.server_version >= _BATCH_SINCE


async def publish_batch(
    connection: Connection, messages: Sequence[BatchMessage], *, timeout: timedelta
) -> PubAck:
    """Publish up to `BATCH_MAX` messages, and return when all are stored.

    The last message is fenced: it is stored only if its subject has no message yet. So a batch whose acknowledgement
    was lost can be repeated: if the first one was stored, the repeat is refused as a whole. While other batches keep
    the stream from accepting this one, it is sent again, for 30 s.

    Raises:
        WriteUnknown: no acknowledgement arrived; all messages may be stored, or none.
        WrongLastSequence: the last message's subject has a message; nothing was stored.
        ApiError: the stream refused the batch; nothing was stored. Its code may be `BATCHES_OFF`.
        PayloadTooLarge: a message exceeds the server's limit; nothing was stored.
        NotConnected: there was no connection within `timeout`; nothing was stored.
        NoResponders: no stream listens; nothing was stored.
        ValueError: the batch is empty or too long.
    """
    if not 1 <= len(messages) <= BATCH_MAX:
        raise ValueError(f"a batch has 1 to {BATCH_MAX} messages, got {len(messages)}")
    due = connection.loop.time() + _CROWDED_WITHIN.total_seconds()
    pauses = Backoff(_PAUSE_FIRST, _PAUSE_LONGEST)
    while True:
        try:
            return await _publish(connection, messages, timeout)
        except ApiError as error:
            if error.err_code not in _CROWDED or connection.loop.time() > due:
                raise
        await asyncio.sleep(pauses.next().total_seconds())


async def _publish(connection: Connection, messages: Sequence[BatchMessage], timeout: timedelta) -> PubAck:
    loop = connection.loop
    due = loop.time() + timeout.total_seconds()
    absent_since = 0.0
    while True:
        await wait_ready(connection, due, messages[-1].subject)
        try:
            return await _send(connection, messages, timedelta(seconds=max(0.0, due - loop.time())))
        except NoResponders:  # the server has none of the messages: all of them are sent again
            absent_since = absent_since or loop.time()
            if not await wait_jetstream(connection, due, absent_since):
                raise


async def _send(connection: Connection, messages: Sequence[BatchMessage], timeout: timedelta) -> PubAck:
    batch_id = {"Nats-Batch-Id": new_id()}
    for number, message in enumerate(messages[:-1], start=1):
        lines = message.headers + encode_lines({**batch_id, "Nats-Batch-Sequence": str(number)})
        if not connection.is_ready:
            await connection.wait_writable()
        connection.send(message.subject, message.data, headers=lines)
    last = messages[-1]
    closing = {**batch_id, "Nats-Batch-Sequence": str(len(messages)), "Nats-Batch-Commit": "1"}
    return await publish_acked(
        connection,
        last.subject,
        last.data,
        headers=last.headers + encode_lines(closing),
        expected_last_on_subject=0,
        timeout=timeout,
        waits_for_jetstream=False,
    )
