"""The records of a bucket as JetStream stores them: bytes under a subject, written once even when answers are lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import StoredMessage, leader_last_message
from trellis_nats.binding import BucketBinding
from trellis_nats.errors import ApiError, PayloadTooLarge, TransportError, WriteUnknown
from trellis_nats.ids import new_id

__all__ = ["Record", "Records"]

_MESSAGE_ID: Final = "Nats-Msg-Id"
_OPERATION: Final = "KV-Operation"
_MARKER: Final = "Nats-Marker-Reason"
"""On what a server leaves behind for a value that expired; there is no `KV-Operation` then."""
_TOO_LARGE: Final = 10054
"""The server's code for a message larger than its stream takes."""
_OWN_HEADERS_BYTES: Final = 110
"""About the size of the id and the expected revision, which the server counts too."""
_WRITES_MAX: Final = 3
"""How often a write is sent whose acknowledgement was lost."""


@dataclass(frozen=True, slots=True)
class Record:
    """The newest message of a key."""

    data: bytes | None
    """None: the key was deleted, or its value expired."""
    revision: int
    created: datetime


class Records:
    """Reads and writes the messages of one bucket.

    Reads ask the leader, so that they see every write that was acknowledged before. Every write has an id, by which
    the server stores it once though it is sent again, and by which a success whose answer was lost is recognised.
    """

    def __init__(self, connection: Connection, binding: BucketBinding, *, timeout: timedelta) -> None:
        self._connection = connection
        self._stream = f"KV_{binding.bucket}"
        self._prefix = f"$KV.{binding.bucket}."
        self._limit = binding.max_value_bytes
        self._timeout = timeout

    async def newest(self, key: str) -> Record | None:
        """Return the newest record of a key; None when there is none."""
        stored = await self._stored(key)
        return None if stored is None else _record(stored)

    async def write(self, key: str, data: bytes, *, over: int | None) -> int:
        """Write a value, and return its revision; with `over`, only if that is the key's revision (0: none).

        Raises:
            WrongLastSequence: the key has another revision.
            WriteUnknown: no answer came to any of the repeated writes, and a read did not find it.
            PayloadTooLarge: the bucket does not take it.
        """
        subject = self._prefix + key
        if self._limit is not None and len(data) > self._limit:
            raise PayloadTooLarge(subject, size_bytes=len(data), limit_bytes=self._limit)
        try:
            return await self._publish(key, data, {}, over)
        except ApiError as error:
            if error.err_code != _TOO_LARGE or self._limit is None:
                raise
            size = len(data) + _OWN_HEADERS_BYTES
            raise PayloadTooLarge(subject, size_bytes=size, limit_bytes=self._limit) from None

    async def mark_deleted(self, key: str, *, over: int | None) -> int:
        """Write that a key is deleted. Raises as `write`."""
        return await self._publish(key, b"", {_OPERATION: "DEL"}, over)

    async def _publish(self, key: str, data: bytes, headers: Mapping[str, str], over: int | None) -> int:
        write_id = new_id()
        unknown: WriteUnknown | None = None
        for _ in range(_WRITES_MAX):
            try:
                ack = await publish_acked(
                    self._connection,
                    self._prefix + key,
                    data,
                    headers=headers,
                    message_id=write_id,
                    expected_last_on_subject=over,
                    timeout=self._timeout,
                )
            except WriteUnknown as error:
                unknown = error
            except TransportError:
                if unknown is None:
                    raise
                break
            else:
                return ack.sequence
        return await self._own(key, write_id)

    async def _own(self, key: str, write_id: str) -> int:
        """Return the revision of a write of ours whose answer was lost, if it is the newest one of its key.

        If it is not, it was never stored, or stored and overwritten. Nothing tells the two apart: a stream checks the
        expected revision before the id (measured with 2.15.1), so it refuses to repeat a write that it has stored.
        """
        try:
            stored = await self._stored(key)
        except TransportError:
            stored = None
        if stored is not None and stored.headers.get(_MESSAGE_ID) == write_id:
            return stored.sequence
        raise WriteUnknown(f'a write to "{self._prefix}{key}" was not acknowledged; it may have been stored')

    async def _stored(self, key: str) -> StoredMessage | None:
        return await leader_last_message(
            self._connection, self._stream, self._prefix + key, timeout=self._timeout
        )


def _record(stored: StoredMessage) -> Record:
    is_gone = not stored.data or _OPERATION in stored.headers or _MARKER in stored.headers
    return Record(None if is_gone else stored.data, stored.sequence, stored.time)
