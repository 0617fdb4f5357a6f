"""A KV bucket as JetStream sees it: bytes and revisions. Keys and values are checked by the layer above."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import API_TIMEOUT
from trellis_nats._nats.jetstream.publish import PubAck, publish_acked
from trellis_nats._nats.jetstream.streams import StoredMessage, last_message, leader_last_message
from trellis_nats.errors import WrongLastSequence

__all__ = ["Bucket", "KvRecord", "Operation"]

Operation = Literal["PUT", "DEL", "PURGE"]

_BESIDE_BYTES: Final = 2048
"""Kept free of a message's limit for what stands beside a value: headers of ours, and those of mirrors and sources."""
_OPERATION: Final = "KV-Operation"
_MARKER: Final = "Nats-Marker-Reason"
"""On what a server leaves behind for a key that expired or was purged; there is no `KV-Operation` then."""


@dataclass(frozen=True, slots=True)
class KvRecord:
    """What is stored under a key."""

    key: str
    value: bytes
    revision: int
    time: datetime
    operation: Operation
    """Only `PUT` holds a value; the others say that the key was deleted."""


class Bucket:
    """The records of one bucket. Every method may raise the transport errors of `publish_acked` or `last_message`."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."

    @property
    def limit_bytes(self) -> int:
        """How long a value may be, beside its headers and what the server adds to it."""
        return self._connection.max_payload - _BESIDE_BYTES

    async def get(
        self, key: str, *, leader: bool = False, timeout: timedelta = API_TIMEOUT
    ) -> KvRecord | None:
        """Read the newest record of a key; None when there never was one.

        A replica may answer with an older record. With `leader` none can, but it needs one more permission.
        """
        read = leader_last_message if leader else last_message
        stored = await read(self._connection, self._stream, self._prefix + key, timeout=timeout)
        return None if stored is None else self._record(stored)

    async def put(self, key: str, value: bytes, *, timeout: timedelta = API_TIMEOUT) -> int:
        """Write a value whatever is there, and return its revision.

        Raises:
            WriteUnknown: the answer was lost; the value may have been stored.
        """
        return (await publish_acked(self._connection, self._prefix + key, value, timeout=timeout)).sequence

    async def create(self, key: str, value: bytes, *, timeout: timedelta = API_TIMEOUT) -> int:
        """Write a value only where none is, or where one was deleted, and return its revision.

        Raises:
            WrongLastSequence: the key has a value.
            WriteUnknown: the answer was lost; the value may have been stored.
        """
        try:
            return await self.update(key, value, 0, timeout=timeout)
        except WrongLastSequence:
            found = await self.get(key, timeout=timeout)
            if found is None or found.operation == "PUT":
                raise
            return await self.update(key, value, found.revision, timeout=timeout)

    async def update(self, key: str, value: bytes, revision: int, *, timeout: timedelta = API_TIMEOUT) -> int:
        """Write a value only over this revision, and return the new one.

        Raises:
            WrongLastSequence: the key has another revision.
            WriteUnknown: the answer was lost; the value may have been stored.
        """
        return (await self.replace(key, value, revision, timeout=timeout)).sequence

    def replace(
        self, key: str, value: bytes, revision: int, *, timeout: timedelta = API_TIMEOUT
    ) -> Coroutine[None, None, PubAck]:
        """As `update`, for who writes often: the revision is the sequence of the acknowledgement."""
        return publish_acked(
            self._connection, self._prefix + key, value, expected_last_on_subject=revision, timeout=timeout
        )

    async def delete(self, key: str, *, revision: int | None = None, timeout: timedelta = API_TIMEOUT) -> int:
        """Mark a key as deleted, if a revision is given only over it, and return the marker's revision.

        Raises:
            WrongLastSequence: the key has another revision.
            WriteUnknown: the answer was lost; the marker may have been stored.
        """
        acknowledgement = await publish_acked(
            self._connection,
            self._prefix + key,
            b"",
            headers={_OPERATION: "DEL"},
            expected_last_on_subject=revision,
            timeout=timeout,
        )
        return acknowledgement.sequence

    def _record(self, stored: StoredMessage) -> KvRecord:
        return KvRecord(
            stored.subject[len(self._prefix) :], stored.data, stored.sequence, stored.time, _operation(stored)
        )


def _operation(stored: StoredMessage) -> Operation:
    match stored.headers.get(_OPERATION):
        case "DEL":
            return "DEL"
        case "PURGE":
            return "PURGE"
        case _:
            return "DEL" if _MARKER in stored.headers else "PUT"
