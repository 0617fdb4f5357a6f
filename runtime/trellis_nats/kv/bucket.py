"""One key-value bucket: typed reads and writes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cached_property
from typing import Final, Generic, TypeVar

from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.codec import Codec
from trellis_nats.errors import (
    ConfigurationError,
    InvalidPayload,
    KeyExists,
    RevisionMismatch,
    WrongLastSequence,
)
from trellis_nats.kv.bucket_surface import BucketSurface
from trellis_nats.kv.entry import DeletedEntry, Entry
from trellis_nats.kv.keys import require_key, require_pattern
from trellis_nats.runtime import Runtime
from trellis_nats.specs import BucketSpec

__all__ = ["Bucket"]

ValueT = TypeVar("ValueT")

_log = logging.getLogger(__name__)

_CREATES_MAX: Final = 5
"""How often `create` tries while other writers delete and create the key at the same time."""


class Bucket(Generic[ValueT]):
    """A bucket of values of one type under keys.

    A key is 1 to 512 characters of `A-Z a-z 0-9 - / _ = .`, without a dot at either end and without two dots in a row.
    A read sees every write that was acknowledged before. A write whose acknowledgement is lost is repeated and stored
    once; if even reading the key does not show whether it was stored, `WriteUnknown` is raised.
    """

    def __init__(self, runtime: Runtime, spec: BucketSpec) -> None:
        self.spec = spec
        """What the contract declares about the bucket."""
        self._runtime = runtime
        self._codec = Codec[ValueT](spec.value, what=f'the value for bucket "{spec.name}"')
        runtime.register(BucketSurface(spec))

    def __repr__(self) -> str:
        return f"<Bucket {self.spec.name}>"

    async def get(self, key: str) -> Entry[ValueT] | None:
        """Read the value of a key; None when there is none, or it was deleted or has expired.

        Raises:
            InvalidKey: NATS does not allow the key.
            InvalidPayload: the stored value does not match the schema.
            TransportError: the server did not answer.
        """
        self._runtime.connection.require_own_loop()
        record = await self._get(require_key(self.spec.name, key))
        return None if record is None or not _has_value(record) else self._entry(record)

    async def put(self, key: str, value: ValueT) -> Entry[ValueT]:
        """Write a value, whether or not the key has one.

        Raises:
            InvalidKey: NATS does not allow the key.
            InvalidPayload: the value does not match its schema; nothing was sent.
            PayloadTooLarge: the value exceeds the bucket's limit; nothing was stored.
            WriteUnknown: the value may have been stored.
            TransportError: the server did not accept the write.
        """
        self._runtime.connection.require_own_loop()
        return await self._write(key, value, self._encode(key, value), None)

    async def create(self, key: str, value: ValueT) -> Entry[ValueT]:
        """Write a value only if the key has none.

        Raises:
            KeyExists: the key has a value.
            InvalidKey: NATS does not allow the key.
            InvalidPayload: the value does not match its schema; nothing was sent.
            PayloadTooLarge: the value exceeds the bucket's limit; nothing was stored.
            WriteUnknown: the value may have been stored.
            TransportError: the server did not accept the write.
        """
        self._runtime.connection.require_own_loop()
        data = self._encode(key, value)
        expected_revision = 0
        for _ in range(_CREATES_MAX):
            try:
                return await self._write(key, value, data, expected_revision)
            except WrongLastSequence:
                found = await self._get(key)
            if found is not None and _has_value(found):
                break
            expected_revision = 0 if found is None else found.revision
        raise KeyExists("the key has a value", bucket=self.spec.name, key=key)

    async def update(self, entry: Entry[ValueT], value: ValueT) -> Entry[ValueT]:
        """Replace the value of an entry, only if its key has not changed since the entry was read or written.

        Raises:
            RevisionMismatch: the key has changed; read it again, and decide again.
            InvalidPayload: the value does not match its schema; nothing was sent.
            PayloadTooLarge: the value exceeds the bucket's limit; nothing was stored.
            WriteUnknown: the value may have been stored.
            TransportError: the server did not accept the write.
        """
        self._runtime.connection.require_own_loop()
        try:
            return await self._write(entry.key, value, self._encode(entry.key, value), entry.revision)
        except WrongLastSequence:
            raise self._mismatch(entry) from None

    async def delete(self, key: str, *, entry: Entry[ValueT] | None = None) -> None:
        """Delete a key. A key without a value is not an error.

        Args:
            key: the key.
            entry: delete only if the key has not changed since this entry was read or written.

        Raises:
            RevisionMismatch: the key has changed since the entry.
            InvalidKey: NATS does not allow the key.
            WriteUnknown: the key may have been deleted.
            TransportError: the server did not accept the write.
            ValueError: the entry belongs to another key.
        """
        self._runtime.connection.require_own_loop()
        require_key(self.spec.name, key)
        if entry is not None and entry.key != key:
            raise ValueError(f'the entry belongs to key "{entry.key}", not to key "{key}"')
        expected_revision = None if entry is None else entry.revision
        try:
            await self._bucket.delete(key, expected_revision=expected_revision)
        except WrongLastSequence:
            if entry is None:
                raise
            raise self._mismatch(entry) from None

    async def keys(self, pattern: str = ">") -> list[str]:
        """Return the keys that have a value, sorted.

        Args:
            pattern: which keys: a key in which `*` stands for one part between dots, and `>` for all parts at the end.
                By default every key.

        Raises:
            InvalidKey: it is not a pattern of keys.
            PermissionDenied: the account may not create a consumer on the bucket.
            TransportError: the server did not answer.
        """
        self._runtime.connection.require_own_loop()
        return sorted(await self._bucket.keys(require_pattern(self.spec.name, pattern)))

    async def history(self, key: str) -> list[Entry[ValueT] | DeletedEntry]:
        """Return the stored revisions of a key, oldest first: at most as many as `history` of the contract, 1 by default.

        Raises:
            InvalidKey: NATS does not allow the key.
            InvalidPayload: a stored value does not match the schema.
            TransportError: the server did not answer.
        """
        self._runtime.connection.require_own_loop()
        records = await self._bucket.history(require_key(self.spec.name, key))
        return [self._read(record) for record in records]

    async def watch(self, pattern: str = ">") -> AsyncGenerator[Entry[ValueT] | DeletedEntry, None]:
        """Yield what each key holds now, and then each change, through outages. It does not end.

            async for entry in service.kv.orders.watch():
                match entry:
                    case Entry(key=key, value=order): ...
                    case DeletedEntry(key=key): ...

        The newest value of a key is never missed; of several values written during an outage, older ones may be. A key
        whose value expires is not reported, except where the bucket leaves markers for that. A value that does not match
        the schema is logged and skipped.

        Args:
            pattern: which keys, as for `keys`.

        Raises:
            InvalidKey: it is not a pattern of keys.
            PermissionDenied: the account may not create a consumer on the bucket.
            NotConnected: the connection was closed.
        """
        self._runtime.connection.require_own_loop()
        log_throttle = LogThrottle(_log)
        changes = self._bucket.watch(require_pattern(self.spec.name, pattern))
        async with aclosing(changes):
            async for record in changes:
                try:
                    entry = self._read(record)
                except InvalidPayload as error:
                    log_throttle.write(
                        logging.WARNING,
                        LogEvent.VALUE_SKIPPED,
                        "skipped a value: %s",
                        error,
                        extra=log_fields(LogEvent.VALUE_SKIPPED),
                    )
                else:
                    yield entry

    def _read(self, record: KvRecord) -> Entry[ValueT] | DeletedEntry:
        if _has_value(record):
            return self._entry(record)
        return DeletedEntry(key=record.key, revision=record.revision, created=record.time)

    async def _get(self, key: str) -> KvRecord | None:
        return await self._bucket.get(key, leader=True)

    async def _write(
        self, key: str, value: ValueT, data: bytes, expected_revision: int | None
    ) -> Entry[ValueT]:
        revision = await self._bucket.put(key, data, expected_revision=expected_revision)
        return Entry(key=key, value=value, revision=revision)

    def _entry(self, record: KvRecord) -> Entry[ValueT]:
        try:
            value = self._codec.decode(record.value)
        except InvalidPayload as error:
            raise InvalidPayload(f'key "{record.key}" of bucket "{self.spec.name}"', error.issues) from None
        return Entry(key=record.key, value=value, revision=record.revision, created=record.time)

    def _encode(self, key: str, value: ValueT) -> bytes:
        require_key(self.spec.name, key)
        return self._codec.encode(value)

    def _mismatch(self, entry: Entry[ValueT]) -> RevisionMismatch:
        return RevisionMismatch(
            f"the key has changed since revision {entry.revision}", bucket=self.spec.name, key=entry.key
        )

    @cached_property
    def _bucket(self) -> KvBucket:
        binding = self._runtime.binding.kv.get(self.spec.name)
        if binding is None:
            raise ConfigurationError(f'the binding has no bucket "{self.spec.name}"')
        return KvBucket(
            self._runtime.connection,
            binding.bucket,
            max_value_bytes=binding.max_value_bytes,
            answer=AnswerSize.LARGE,
            timeout=self._runtime.options.request_timeout,
        )


def _has_value(record: KvRecord) -> bool:
    """Return whether a value is stored: not a marker, and not empty, which no JSON text is."""
    return record.operation == "PUT" and record.value != b""
