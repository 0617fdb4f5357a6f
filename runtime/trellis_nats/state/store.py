"""The stores of a contract's state: one value, or a map of values under keys."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Final, Generic, Never, cast

from typing_extensions import TypeVar

from trellis_nats.clock import to_milliseconds
from trellis_nats.codec import Codec
from trellis_nats.errors import (
    ConfigurationError,
    InvalidPayload,
    InvalidStateKey,
    StateConflict,
    StateValueTooLarge,
)
from trellis_nats.errors.configuration import require_timedelta
from trellis_nats.json_types import JsonValue
from trellis_nats.rpc.call import RpcCall
from trellis_nats.runtime import Runtime
from trellis_nats.specs import StateSpec
from trellis_nats.state.calls import (
    DELETE,
    GET,
    LIST,
    PUT,
    Applied,
    DeleteAnswer,
    GetAnswer,
    ListAnswer,
    Missing,
    OldStored,
    PutAnswer,
    StateRequest,
    Stored,
)
from trellis_nats.state.entry import OldStateEntry, StateEntry

__all__ = ["StateMap", "StateValue"]

ValueT = TypeVar("ValueT")
OldT = TypeVar("OldT", bound=OldStateEntry[object], default=Never)
"""The entries of older versions. Never, where the contract accepts only the current one: then there are none."""

KEY_BYTES_MAX: Final = 512
VALUE_BYTES_MAX: Final = 64 * 1024
PAGE_ENTRIES_MAX: Final = 100
"""The limits of the platform (reference, 9)."""


class _Store(Generic[ValueT, OldT]):
    """What both kinds of store do. The key is empty in a store of one value."""

    def __init__(self, runtime: Runtime, spec: StateSpec) -> None:
        self.spec = spec
        """What the contract declares about the store."""
        self._codec = Codec[ValueT](spec.value, what=f'the value for state "{spec.name}"')
        self._old_codecs = {
            version: Codec[object](old, what=f'the value of version "{version}" of state "{spec.name}"')
            for version, old in spec.accepted.items()
        }
        self._get_call = RpcCall[StateRequest, GetAnswer](runtime, GET)
        self._put_call = RpcCall[StateRequest, PutAnswer](runtime, PUT)
        self._delete_call = RpcCall[StateRequest, DeleteAnswer](runtime, DELETE)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec.name}>"

    async def update(
        self, entry: StateEntry[ValueT] | OldT, value: ValueT, *, ttl: timedelta | None = None
    ) -> StateEntry[ValueT]:
        """Replace the value of an entry, only if it has not changed since the entry was read or written.

        An `OldStateEntry` is replaced in the same way, by a value of the current version.

        Args:
            entry: what `get`, `put` or another call returned.
            value: the new value.
            ttl: how long it is kept. None: until it is deleted.

        Raises:
            StateConflict: the value has changed, or is gone; the error has the current entry.
            InvalidPayload: the value does not match its schema; nothing was sent.
            StateValueTooLarge: the value is longer than 64 KiB; nothing was sent.
            ConfigurationError: the `ttl` is shorter than a millisecond; nothing was sent.
            RpcError: the platform refuses the call.
            TransportError: the call failed. After a `RequestTimeout`, the value may have been written.
        """
        return await self._write(entry.key, value, ttl, {"expectedRevision": entry.revision})

    async def _read(self, key: str) -> StateEntry[ValueT] | OldT | None:
        answer = await self._get_call(self._request(key))
        match answer:
            case Missing():
                return None
            case OldStored():
                return self._entry(answer)
            case _:
                return self._entry(answer.entry)

    async def _create(self, key: str, value: ValueT, ttl: timedelta | None) -> StateEntry[ValueT]:
        return await self._write(key, value, ttl, {"expectedRevision": None})

    async def _write(
        self, key: str, value: ValueT, ttl: timedelta | None, expected: StateRequest
    ) -> StateEntry[ValueT]:
        request = {**self._request(key), "value": self._encode(key, value), **expected, **_write_ttl(ttl)}
        answer = await self._put_call(request)
        if isinstance(answer, Applied):
            return _current_entry(answer.entry, value)
        current = None if answer.entry is None else self._entry(answer.entry)
        what = "there is a value already" if current is not None else "there is no value"
        revision = expected.get("expectedRevision")
        if revision is not None:
            what = f"{'it has changed since' if current is not None else 'it is gone, and was at'} revision {revision}"
        raise StateConflict(what, store=self.spec.name, key=key, current=current)

    async def _delete(self, key: str, entry: StateEntry[ValueT] | OldT | None) -> bool:
        request = self._request(key)
        if entry is not None:
            if entry.key != key:
                raise ConfigurationError(f'the entry belongs to key "{entry.key}", not to key "{key}"')
            request["expectedRevision"] = entry.revision
        return (await self._delete_call(request)).deleted

    def _request(self, key: str) -> StateRequest:
        return {"store": self.spec.name, **({"key": key} if key else {})}

    def _encode(self, key: str, value: ValueT) -> JsonValue:
        written = self._codec.write(value)
        size = len(written.text)
        if size > VALUE_BYTES_MAX:
            raise StateValueTooLarge(
                store=self.spec.name, key=key, size_bytes=size, limit_bytes=VALUE_BYTES_MAX
            )
        return written.value

    def _entry(self, stored: Stored | OldStored) -> StateEntry[ValueT] | OldT:
        if isinstance(stored, Stored):
            return _current_entry(stored, self._codec.from_json(stored.value))
        codec = self._old_codecs.get(stored.state_version)
        if codec is None:
            text = f'version "{stored.state_version}" is not the current one, and the contract does not accept it'
            raise InvalidPayload(f'the value of state "{self.spec.name}"', [("#/stateVersion", text)])
        old = OldStateEntry(
            key=stored.entry.key or "",
            value=codec.from_json(stored.entry.value),
            version=stored.state_version,
            revision=stored.entry.revision,
            updated=stored.entry.updated_at,
            expires=stored.entry.expires_at,
            writer_digest=stored.writer_digest,
        )
        return cast("OldT", old)


class StateValue(_Store[ValueT, OldT]):
    """A store of one value."""

    async def get(self) -> StateEntry[ValueT] | OldT | None:
        """Read the value; None when there is none, or it was deleted or has expired.

        Raises:
            InvalidPayload: the stored value does not match its schema.
            RpcError: the platform refuses the call.
            TransportError: the call failed.
        """
        return await self._read("")

    async def put(self, value: ValueT, *, ttl: timedelta | None = None) -> StateEntry[ValueT]:
        """Write the value, whether or not there is one. With a `ttl`, it is deleted after that time.

        Raises:
            InvalidPayload: the value does not match its schema; nothing was sent.
            StateValueTooLarge: the value is longer than 64 KiB; nothing was sent.
            ConfigurationError: the `ttl` is shorter than a millisecond; nothing was sent.
            RpcError: the platform refuses the call.
            TransportError: the call failed. After a `RequestTimeout`, the value may have been written.
        """
        return await self._write("", value, ttl, {})

    async def create(self, value: ValueT, *, ttl: timedelta | None = None) -> StateEntry[ValueT]:
        """Write the value only if there is none. With a `ttl`, it is deleted after that time.

        Raises:
            StateConflict: there is one; the error has its entry.
            InvalidPayload: the value does not match its schema; nothing was sent.
            StateValueTooLarge: the value is longer than 64 KiB; nothing was sent.
            ConfigurationError: the `ttl` is shorter than a millisecond; nothing was sent.
            RpcError: the platform refuses the call.
            TransportError: the call failed. After a `RequestTimeout`, the value may have been written.
        """
        return await self._create("", value, ttl)

    async def delete(self, *, entry: StateEntry[ValueT] | OldT | None = None) -> bool:
        """Delete the value; with an `entry`, only if it has not changed since. Return whether it was deleted.

        Raises:
            RpcError: the platform refuses the call.
            TransportError: the call failed. After a `RequestTimeout`, the value may have been deleted.
        """
        return await self._delete("", entry)


class StateMap(_Store[ValueT, OldT]):
    """A store of values of one type under keys. A key is a text of 1 to 512 bytes."""

    def __init__(self, runtime: Runtime, spec: StateSpec) -> None:
        super().__init__(runtime, spec)
        self._list_call = RpcCall[StateRequest, ListAnswer](runtime, LIST)

    async def get(self, key: str) -> StateEntry[ValueT] | OldT | None:
        """Read the value of a key; None when there is none, or it was deleted or has expired.

        Raises:
            InvalidStateKey: the key is empty or longer than 512 bytes; nothing was sent.
            InvalidPayload: the stored value does not match its schema.
            RpcError: the platform refuses the call.
            TransportError: the call failed.
        """
        return await self._read(self._require_key(key))

    async def put(self, key: str, value: ValueT, *, ttl: timedelta | None = None) -> StateEntry[ValueT]:
        """Write the value of a key, whether or not it has one. With a `ttl`, it is deleted after that time.

        Raises:
            InvalidStateKey: the key is empty or longer than 512 bytes; nothing was sent.
            InvalidPayload: the value does not match its schema; nothing was sent.
            StateValueTooLarge: the value is longer than 64 KiB; nothing was sent.
            ConfigurationError: the `ttl` is shorter than a millisecond; nothing was sent.
            RpcError: the platform refuses the call.
            TransportError: the call failed. After a `RequestTimeout`, the value may have been written.
        """
        return await self._write(self._require_key(key), value, ttl, {})

    async def create(self, key: str, value: ValueT, *, ttl: timedelta | None = None) -> StateEntry[ValueT]:
        """Write the value of a key only if it has none. With a `ttl`, it is deleted after that time.

        Raises:
            StateConflict: the key has a value; the error has its entry.
            InvalidStateKey: the key is empty or longer than 512 bytes; nothing was sent.
            InvalidPayload: the value does not match its schema; nothing was sent.
            StateValueTooLarge: the value is longer than 64 KiB; nothing was sent.
            ConfigurationError: the `ttl` is shorter than a millisecond; nothing was sent.
            RpcError: the platform refuses the call.
            TransportError: the call failed. After a `RequestTimeout`, the value may have been written.
        """
        return await self._create(self._require_key(key), value, ttl)

    async def delete(self, key: str, *, entry: StateEntry[ValueT] | OldT | None = None) -> bool:
        """Delete the value of a key; with an `entry`, only if it has not changed since. Return whether it was deleted.

        Raises:
            InvalidStateKey: the key is empty or longer than 512 bytes; nothing was sent.
            ConfigurationError: the entry belongs to another key; nothing was sent.
            RpcError: the platform refuses the call.
            TransportError: the call failed. After a `RequestTimeout`, the value may have been deleted.
        """
        return await self._delete(self._require_key(key), entry)

    async def list(
        self, prefix: str | None = None, *, page_size: int = PAGE_ENTRIES_MAX
    ) -> AsyncGenerator[StateEntry[ValueT] | OldT, None]:
        """Yield the entries, in the order of the platform, page by page.

            async for entry in client.state.notes.list("work"):
                print(entry.key, entry.value)

        Pages are read while you iterate: an entry that is written or deleted meanwhile may be missing, and others may come
        twice.

        Args:
            prefix: only entries whose key begins with it. None: all of them.
            page_size: how many entries one request asks for, at most 100.

        Raises:
            ConfigurationError: the page size is not 1 to 100; nothing was sent.
            InvalidStateKey: the prefix is empty or longer than 512 bytes; nothing was sent.
            InvalidPayload: a stored value does not match its schema.
            RpcError: the platform refuses the call.
            TransportError: a call failed.
        """
        if not 1 <= page_size <= PAGE_ENTRIES_MAX:
            raise ConfigurationError(f"page_size must be 1 to {PAGE_ENTRIES_MAX}, got {page_size}")
        request: StateRequest = {"store": self.spec.name}
        if prefix is not None:
            request["prefix"] = self._require_key(prefix)
        offset: int | None = 0
        while offset is not None:
            page = await self._list_call({**request, "offset": offset, "limit": page_size})
            for stored in page.entries:
                yield self._entry(stored)
            if page.next_offset is not None and page.next_offset <= offset:
                text = f"must be greater than the offset of its page, {offset}"
                raise InvalidPayload(f'a page of state "{self.spec.name}"', [("#/nextOffset", text)])
            offset = page.next_offset

    def _require_key(self, key: str) -> str:
        if not 1 <= len(key.encode(errors="surrogatepass")) <= KEY_BYTES_MAX:
            raise InvalidStateKey(
                f"a key must be 1 to {KEY_BYTES_MAX} bytes as UTF-8", store=self.spec.name, key=key
            )
        return key


def _current_entry(stored: Stored, value: ValueT) -> StateEntry[ValueT]:
    return StateEntry(
        key=stored.key or "",
        value=value,
        revision=stored.revision,
        updated=stored.updated_at,
        expires=stored.expires_at,
    )


def _write_ttl(ttl: timedelta | None) -> StateRequest:
    require_timedelta("ttl", ttl)
    if ttl is None:
        return {}
    if ttl < timedelta(milliseconds=1):
        raise ConfigurationError(f"ttl must be at least a millisecond, got {ttl}")
    return {"ttlMs": to_milliseconds(ttl)}
