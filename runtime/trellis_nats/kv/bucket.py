"""One key-value bucket, as the service that owns it reads and writes it."""

from __future__ import annotations

from functools import cached_property
from typing import Final, Generic, TypeVar

from trellis_nats.codec import Codec
from trellis_nats.errors import (
    ConfigurationError,
    InvalidPayload,
    KeyExists,
    RevisionMismatch,
    WrongLastSequence,
)
from trellis_nats.kv.bucket_surface import BucketSurface
from trellis_nats.kv.entry import Entry
from trellis_nats.kv.keys import checked_key
from trellis_nats.kv.records import Record, Records
from trellis_nats.runtime import Runtime
from trellis_nats.specs import BucketSpec

__all__ = ["Bucket"]

ValueT = TypeVar("ValueT")

_CREATES_MAX: Final = 5
"""How often `create` tries where a key is deleted and created at the same time by others."""


class Bucket(Generic[ValueT]):
    """A bucket of values of one type under keys.

    A key is 1 to 512 characters of `A-Z a-z 0-9 - / _ = .`, with no dot at an end or beside another. A read sees every
    write that was acknowledged before. A write whose acknowledgement is lost is sent again and stored once; where even
    a look at the bucket does not tell whether it was stored, `WriteUnknown` is raised.
    """

    def __init__(self, runtime: Runtime, spec: BucketSpec) -> None:
        self.spec = spec
        """What the contract says about the bucket."""
        self._runtime = runtime
        self._codec = Codec[ValueT](spec.value, what=f'the value for bucket "{spec.name}"')
        runtime.register(BucketSurface(spec))

    def __repr__(self) -> str:
        return f"<Bucket {self.spec.name}>"

    async def get(self, key: str) -> Entry[ValueT] | None:
        """Read the value of a key; None when there is none, or it was deleted or has expired.

        Raises:
            InvalidKey: NATS does not allow the key.
            InvalidPayload: what is stored does not match the schema.
            TransportError: NATS could not answer.
        """
        record = await self._records.newest(checked_key(self.spec.name, key))
        return None if record is None or record.data is None else self._entry(key, record.data, record)

    async def put(self, key: str, value: ValueT) -> Entry[ValueT]:
        """Write a value, whatever is there.

        Raises:
            InvalidKey: NATS does not allow the key.
            InvalidPayload: the value does not match its schema; nothing was sent.
            PayloadTooLarge: the bucket does not take it.
            WriteUnknown: the value may have been stored.
            TransportError: NATS did not take it.
        """
        data = self._encode(key, value)
        return Entry(key=key, value=value, revision=await self._records.write(key, data, over=None))

    async def create(self, key: str, value: ValueT) -> Entry[ValueT]:
        """Write a value only where none is.

        Raises:
            KeyExists: the key has a value.
            InvalidKey: NATS does not allow the key.
            InvalidPayload: the value does not match its schema; nothing was sent.
            PayloadTooLarge: the bucket does not take it.
            WriteUnknown: the value may have been stored.
            TransportError: NATS did not take it.
        """
        data = self._encode(key, value)
        over = 0
        for _ in range(_CREATES_MAX):
            try:
                return Entry(key=key, value=value, revision=await self._records.write(key, data, over=over))
            except WrongLastSequence:
                found = await self._records.newest(key)
            if found is not None and found.data is not None:
                break
            over = 0 if found is None else found.revision
        raise KeyExists("the key has a value", bucket=self.spec.name, key=key)

    async def update(self, entry: Entry[ValueT], value: ValueT) -> Entry[ValueT]:
        """Write a value over an entry, only if nobody wrote to its key since.

        Raises:
            RevisionMismatch: somebody did; read again, and decide again.
            InvalidPayload: the value does not match its schema; nothing was sent.
            PayloadTooLarge: the bucket does not take it.
            WriteUnknown: the value may have been stored.
            TransportError: NATS did not take it.
        """
        data = self._encode(entry.key, value)
        try:
            revision = await self._records.write(entry.key, data, over=entry.revision)
        except WrongLastSequence:
            raise self._mismatch(entry) from None
        return Entry(key=entry.key, value=value, revision=revision)

    async def delete(self, key: str, *, entry: Entry[ValueT] | None = None) -> None:
        """Delete a key; one that has no value is no error. With an entry, only if nobody wrote to the key since.

        Raises:
            RevisionMismatch: somebody did.
            InvalidKey: NATS does not allow the key.
            WriteUnknown: the key may have been deleted.
            TransportError: NATS did not take it.
            ValueError: the entry is one of another key.
        """
        checked_key(self.spec.name, key)
        if entry is None:
            await self._records.mark_deleted(key, over=None)
            return
        if entry.key != key:
            raise ValueError(f'the entry of key "{entry.key}" says nothing about key "{key}"')
        try:
            await self._records.mark_deleted(key, over=entry.revision)
        except WrongLastSequence:
            raise self._mismatch(entry) from None

    def _entry(self, key: str, data: bytes, record: Record) -> Entry[ValueT]:
        try:
            value = self._codec.decode(data)
        except InvalidPayload as error:
            raise InvalidPayload(f'key "{key}" of bucket "{self.spec.name}"', error.issues) from None
        return Entry(key=key, value=value, revision=record.revision, created=record.created)

    def _encode(self, key: str, value: ValueT) -> bytes:
        checked_key(self.spec.name, key)
        return self._codec.encode(value)

    def _mismatch(self, entry: Entry[ValueT]) -> RevisionMismatch:
        return RevisionMismatch(
            f"somebody wrote since revision {entry.revision}", bucket=self.spec.name, key=entry.key
        )

    @cached_property
    def _records(self) -> Records:
        binding = self._runtime.binding.kv.get(self.spec.name)
        if binding is None:
            raise ConfigurationError(f'the binding has no bucket "{self.spec.name}"')
        return Records(self._runtime.connection, binding, timeout=self._runtime.options.request_timeout)
