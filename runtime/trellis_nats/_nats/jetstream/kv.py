"""A key-value bucket at the level of JetStream: bytes and revisions. The callers check and encode keys and values."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import split_ack_subject
from trellis_nats._nats.jetstream.api import API_TIMEOUT
from trellis_nats._nats.jetstream.delivery import Delivery
from trellis_nats._nats.jetstream.publish import PubAck, publish_acked
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.repeat_write import repeat_write
from trellis_nats._nats.jetstream.stream_follower import follow_stream
from trellis_nats._nats.jetstream.stream_scan import Entry, scan_stream
from trellis_nats._nats.jetstream.streams import (
    StoredMessage,
    get_last_message,
    get_last_message_from_leader,
    get_next_message_from_leader,
    purge_stream,
)
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats.errors import ApiError, PayloadTooLarge, TransportError, WriteUnknown
from trellis_nats.ids import new_id

__all__ = ["KvBucket", "KvEntry", "KvRecord", "Operation", "kv_publish_subject", "kv_stream", "kv_subject"]

Operation = Literal["PUT", "DEL", "PURGE"]

_DOMAIN: Final = re.compile(r"\$JS\.[^.]+\.API")
_HEADROOM_BYTES: Final = 2048
"""Kept free below the server's message limit, for our headers and those of mirrors and sources."""
_OWN_HEADERS_BYTES: Final = 110
"""About the size of the message id and the expected revision, which count as part of a value's size."""
_MESSAGE_ID: Final = "Nats-Msg-Id"
_OPERATION: Final = "KV-Operation"
_MARKER: Final = "Nats-Marker-Reason"
"""On the marker that a server leaves for a key that expired or was purged; it has no `KV-Operation`."""
_TOO_LARGE: Final = 10054
"""The server's error code for a message larger than its stream accepts."""


def kv_stream(bucket: str) -> str:
    """Return the name of the stream that holds a bucket."""
    return f"KV_{bucket}"


def kv_subject(bucket: str, key: str = ">") -> str:
    """Return the subject of a key; by default a filter for all keys of the bucket."""
    return f"$KV.{bucket}.{key}"


def kv_publish_subject(subject: str, api_prefix: str) -> str:
    """Return where a value is published. A leaf node with JetStream of its own lets `$KV` through only below a domain."""
    return f"{api_prefix}.{subject}" if _DOMAIN.fullmatch(api_prefix) else subject


@dataclass(frozen=True, slots=True)
class KvRecord:
    """What is stored under a key."""

    key: str
    value: bytes
    revision: int
    time: datetime
    """When the server stored it."""
    operation: Operation
    """Only `PUT` has a value; the others mean that the key was deleted."""


@dataclass(frozen=True, slots=True)
class KvEntry:
    """What is stored under a key, without its value."""

    key: str
    revision: int
    operation: Operation
    headers: Mapping[str, str]


class KvBucket:
    """The records of one bucket. Every method may raise the transport errors of `publish_acked` or `get_last_message`.

    `update` writes once, for callers that read again when they do not know the outcome. `put`, `delete` and `purge`
    repeat a write until its outcome is known.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        *,
        max_value_bytes: int | None = None,
        answer: AnswerSize = AnswerSize.SMALL,
        timeout: timedelta = API_TIMEOUT,
    ) -> None:
        """Prepare.

        Args:
            connection: where the bucket is.
            name: the bucket's name.
            max_value_bytes: what `put` accepts, and the bucket is configured with; None means no limit.
            answer: how large its values may be, which decides how many are read at a time.
            timeout: how long a read or a write of a key waits for its answer.
        """
        self.name = name
        self._connection = connection
        self._max_value_bytes = max_value_bytes
        self._answer = answer
        self.timeout = timeout
        self._stream = kv_stream(name)
        self._prefix = kv_subject(name, "")
        self._publish_prefix = kv_publish_subject(self._prefix, connection.settings.api_prefix)

    @property
    def limit_bytes(self) -> int:
        """How long a value may be for the server to accept it with its headers."""
        return self._connection.max_payload - _HEADROOM_BYTES

    async def get(
        self, key: str, *, leader: bool = False, timeout: timedelta | None = None
    ) -> KvRecord | None:
        """Read the newest record of a key; None when there never was one.

        A replica may return an older record. With `leader` the leader answers, which needs one more permission. Without
        `timeout`, that of the bucket applies.
        """
        stored = await self._read(key, leader=leader, timeout=timeout)
        return None if stored is None else self._record(stored)

    def update(
        self, key: str, value: bytes, revision: int, *, timeout: timedelta | None = None
    ) -> Coroutine[None, None, PubAck]:
        """Write a value once, only if the key has this revision (0: no record). Its sequence is the new revision.

        Without `timeout`, that of the bucket applies.

        Raises:
            WrongLastSequence: the key has another revision.
            WriteUnknown: the acknowledgement was lost; the value may have been stored.
        """
        return publish_acked(
            self._connection,
            self._publish_prefix + key,
            value,
            expected_last_on_subject=revision,
            timeout=self.timeout if timeout is None else timeout,
        )

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        expected_revision: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Write a value and return its revision; with an expected revision, only if the key has it (0: no record).

        `headers` are stored with the value, for `keys` to tell records apart.

        Raises:
            WrongLastSequence: the key has another revision.
            WriteUnknown: no write was acknowledged, and reading the key did not show whether one was stored.
            PayloadTooLarge: the value exceeds the bucket's limit; nothing was stored.
        """
        limit = self._max_value_bytes
        if limit is not None and len(value) > limit:
            raise PayloadTooLarge(self._prefix + key, size_bytes=len(value), limit_bytes=limit)
        try:
            return await self._write(key, value, headers or {}, expected_revision)
        except ApiError as error:
            if error.err_code != _TOO_LARGE or limit is None:
                raise
            size = len(value) + _OWN_HEADERS_BYTES
            raise PayloadTooLarge(self._prefix + key, size_bytes=size, limit_bytes=limit) from None

    async def delete(self, key: str, *, expected_revision: int | None = None) -> int:
        """Mark a key as deleted and return the revision of the marker. Raises as `put`."""
        return await self._write(key, b"", {_OPERATION: "DEL"}, expected_revision)

    async def purge(self, key: str, *, expected_revision: int | None = None) -> int:
        """Delete a key with its history, and return the revision of the marker that stays. Raises as `put`."""
        headers = {_OPERATION: "PURGE", "Nats-Rollup": "sub"}
        return await self._write(key, b"", headers, expected_revision)

    async def keys(self, pattern: str, *, without_header: str | None = None) -> list[str]:
        """Return the keys under a pattern that have a value, oldest value first. Raises as `scan_stream`.

        `without_header` leaves out those whose newest value has this header.
        """
        found: list[str] = []
        scan = scan_stream(
            self._connection, self._stream, [self._prefix + pattern], rate_limit=RateLimit(), latest=True
        )
        async with scan as listing:
            async for page in listing.pages():
                found += [
                    entry.subject[len(self._prefix) :]
                    for entry in page
                    if _operation(entry.headers) == "PUT" and without_header not in entry.headers
                ]
        return found

    async def keys_before(
        self, pattern: str, age: timedelta, *, is_wanted: Callable[[KvEntry], bool], limit: int
    ) -> list[KvEntry]:
        """Return the newest records of keys, without their values, that are at least so old; oldest first.

        Ages are by the server's clock. Raises as `scan_stream`.

        Args:
            pattern: of the keys.
            age: younger ones are left out.
            is_wanted: so are those of which it returns False.
            limit: how many are returned at most.
        """
        found: list[KvEntry] = []
        scan = scan_stream(
            self._connection, self._stream, [self._prefix + pattern], rate_limit=RateLimit(), latest=True
        )
        async with scan as listing:
            async for page in listing.pages():
                old = [entry for entry in page if entry.time <= listing.now - age]
                found += [entry for each in old if is_wanted(entry := self._entry(each))]
                if len(old) < len(page) or len(found) >= limit:
                    break
        return found[:limit]

    async def remove(self, key: str, *, up_to: int) -> None:
        """Remove a key with its history and without a marker. What was written after a revision stays.

        Raises as `purge_stream`.
        """
        await purge_stream(self._connection, self._stream, self._prefix + key, up_to=up_to)

    async def history(self, key: str) -> list[KvRecord]:
        """Return the stored records of a key, oldest first: at most as many as the bucket's history."""
        records: list[KvRecord] = []
        start = 1
        while True:
            stored = await get_next_message_from_leader(
                self._connection,
                self._stream,
                self._prefix + key,
                start,
                timeout=self.timeout,
                answer=self._answer,
            )
            if stored is None:
                return records
            records.append(self._record(stored))
            start = stored.sequence + 1

    async def watch(self, pattern: str) -> AsyncGenerator[KvRecord, None]:
        """Yield the newest record of each key under a pattern, then each new one. Raises as `follow_stream`."""
        async with follow_stream(
            self._connection, self._stream, self._prefix + pattern, after=None, latest=True
        ) as messages:
            async for message in messages:
                yield self._delivered(message)

    @asynccontextmanager
    async def follow(self, pattern: str) -> AsyncGenerator[AsyncGenerator[KvRecord, None]]:
        """Follow each record that is written under a pattern from now on, in order, through outages.

        Of records written during an outage, those that the bucket's history still has follow. Raises as `follow_stream`.
        """
        async with follow_stream(
            self._connection, self._stream, self._prefix + pattern, after=None
        ) as messages:
            yield (self._delivered(message) async for message in messages)

    def _delivered(self, message: Delivery) -> KvRecord:
        stored_ns = int(split_ack_subject(message.reply)[3])
        return KvRecord(
            message.subject[len(self._prefix) :],
            message.data,
            message.stream_sequence,
            datetime.fromtimestamp(stored_ns / 1e9, UTC),
            _operation(message.headers),
        )

    async def _write(
        self, key: str, value: bytes, headers: Mapping[str, str], expected_revision: int | None
    ) -> int:
        subject, write_id = self._publish_prefix + key, new_id()
        try:
            ack = await repeat_write(
                lambda: publish_acked(
                    self._connection,
                    subject,
                    value,
                    headers=headers,
                    message_id=write_id,
                    expected_last_on_subject=expected_revision,
                    timeout=self.timeout,
                ),
                what=subject,
            )
        except WriteUnknown:
            # If our write is not the newest one, it was never stored, or stored and overwritten: a stream checks the
            # expected revision before the id (2.15.1), so it refuses to repeat a write that it has stored.
            own = await self._find_own(key, write_id)
            if own is None:
                raise
            return own
        return ack.sequence

    async def _find_own(self, key: str, write_id: str) -> int | None:
        """Return the revision of an unacknowledged write if it is the newest one of its key."""
        try:
            stored = await self._read(key, leader=True)
        except TransportError:
            return None
        is_own = stored is not None and stored.headers.get(_MESSAGE_ID) == write_id
        return stored.sequence if stored is not None and is_own else None

    def _read(
        self, key: str, *, leader: bool, timeout: timedelta | None = None
    ) -> Coroutine[None, None, StoredMessage | None]:
        read = get_last_message_from_leader if leader else get_last_message
        timeout = self.timeout if timeout is None else timeout
        return read(self._connection, self._stream, self._prefix + key, timeout=timeout, answer=self._answer)

    def _entry(self, entry: Entry) -> KvEntry:
        key = entry.subject[len(self._prefix) :]
        return KvEntry(key, entry.sequence, _operation(entry.headers), entry.headers)

    def _record(self, stored: StoredMessage) -> KvRecord:
        return KvRecord(
            stored.subject[len(self._prefix) :],
            stored.data,
            stored.sequence,
            stored.time,
            _operation(stored.headers),
        )


def _operation(headers: Mapping[str, str]) -> Operation:
    match headers.get(_OPERATION):
        case "DEL":
            return "DEL"
        case "PURGE":
            return "PURGE"
        case _:
            return "DEL" if _MARKER in headers else "PUT"
