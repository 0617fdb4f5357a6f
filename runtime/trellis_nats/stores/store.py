"""One object store: objects of any size, written and read as streams."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

from trellis_nats._nats.jetstream.object_names import chunk_subject, object_stream
from trellis_nats._nats.jetstream.streams import purge_stream
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.binding import StoreBinding
from trellis_nats.clock import now
from trellis_nats.errors import (
    ApiError,
    ConfigurationError,
    ObjectExists,
    ObjectTooLarge,
    StoreFull,
    TransportError,
    WriteUnknown,
)
from trellis_nats.errors.configuration import require_timedelta
from trellis_nats.ids import new_id
from trellis_nats.runtime import Runtime
from trellis_nats.specs import StoreSpec
from trellis_nats.stores.grants import read_grants
from trellis_nats.stores.meta import CHUNK_BYTES, ObjectMeta, require_key, require_texts
from trellis_nats.stores.object import ObjectInfo, StoredObject
from trellis_nats.stores.reader import ObjectReader, write_digest
from trellis_nats.stores.records import ObjectRecords
from trellis_nats.stores.source import ObjectSource, cut_source, size_of_source
from trellis_nats.stores.store_surface import StoreSurface
from trellis_nats.stores.writer import ChunkWriter

__all__ = ["Store", "find_store"]

_log = logging.getLogger(__name__)

_FULL: Final = 10077
"""The server's error code for a stream that would exceed its bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _NewObject:
    """An object whose chunks are stored, and which no reader sees yet."""

    object_id: str
    chunks: int
    info: ObjectInfo


class Store:
    """A store of objects under keys: files and other values that are too large for a bucket.

    A key is 1 to 512 bytes of UTF-8 without control characters. The format is that of NATS' own object store, so that
    every NATS client can read and write the objects. A read sees every write that was acknowledged before.
    """

    def __init__(self, runtime: Runtime, spec: StoreSpec) -> None:
        self.spec = spec
        """What the contract declares about the store."""
        self._runtime = runtime
        self._cleanups: set[asyncio.Task[None]] = set()
        runtime.register(_RegisteredStore(spec, self))

    def __repr__(self) -> str:
        return f"<Store {self.spec.name}>"

    async def put(
        self,
        key: str,
        source: ObjectSource,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Write an object, whether or not the key has one. It becomes visible as a whole, when this returns.

        The content is sent while it is read; at most 2 MiB of it wait for acknowledgements. Of several writers at once,
        the last one to end wins. When this raises or is cancelled, the key keeps what it had, and what was sent is
        removed again, except after `WriteUnknown`.

        Args:
            key: the key.
            source: bytes, the path of a file, or an async iterator of bytes, which is read once.
            content_type: for example `image/png`.
            metadata: texts to store with the object.

        Raises:
            InvalidObjectKey: an object may not have this key.
            ConfigurationError: the content type or the metadata are not texts.
            ObjectTooLarge: the content exceeds the contract's limit.
            StoreFull: the store has no room for the object. A replaced object needs its room until the end.
            WriteUnknown: the object may have been stored.
            TransportError: the server did not accept the object.
            OSError: the file cannot be read.
        """
        return await self._write(key, source, content_type, metadata, only_new=False)

    async def create(
        self,
        key: str,
        source: ObjectSource,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Write an object only if the key has none. The arguments and errors are those of `put`.

        Raises:
            ObjectExists: the key has an object; nothing was stored.
        """
        return await self._write(key, source, content_type, metadata, only_new=True)

    async def get(self, key: str) -> StoredObject | None:
        """Find an object, to iterate over its content, or to `read` it; None when there is none.

            stored = await service.stores.files.get("report.pdf")
            if stored is not None:
                async for chunk in stored:
                    ...

        Raises:
            InvalidObjectKey: no object may have this key.
            ObjectDamaged: the stored record is malformed.
            TransportError: the server did not answer.
        """
        self._runtime.connection.require_own_loop()
        meta = await self._records.find(require_key(self.spec.name, key))
        return None if meta is None else self._stored(meta)

    async def info(self, key: str) -> ObjectInfo | None:
        """Return what is known about an object, without reading it; None when there is none. Raises as `get`."""
        self._runtime.connection.require_own_loop()
        meta = await self._records.find(require_key(self.spec.name, key))
        return None if meta is None else meta.info

    async def list(self, prefix: str = "") -> list[ObjectInfo]:
        """Return the objects whose key begins with a prefix, sorted by key. Records that are malformed are left out.

        Raises:
            TransportError: the server did not answer.
        """
        self._runtime.connection.require_own_loop()
        found = [meta.info for meta in await self._records.list() if meta.info.key.startswith(prefix)]
        return sorted(found, key=lambda info: info.key)

    async def delete(self, key: str) -> None:
        """Delete an object. A key without an object is not an error.

        Raises:
            InvalidObjectKey: no object may have this key.
            WriteUnknown: the object may have been deleted.
            TransportError: the server did not accept the deletion.
        """
        self._runtime.connection.require_own_loop()
        replaced = await self._records.delete(require_key(self.spec.name, key))
        if replaced is not None:
            await self._remove_chunks(replaced.object_id)

    async def wait_for(self, key: str, *, timeout: timedelta | None = None) -> ObjectInfo:
        """Return what is known about an object as soon as there is one under the key.

        Raises:
            TimeoutError: `timeout` passed first. None: wait without a limit.
            InvalidObjectKey: no object may have this key.
            NotConnected: the connection was closed.
        """
        self._runtime.connection.require_own_loop()
        require_timedelta("timeout", timeout)
        require_key(self.spec.name, key)
        async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
            meta = await self._records.wait_for(key)
        return meta.info

    # --- writing ---------------------------------------------------------------------------------------------------

    async def _write(
        self,
        key: str,
        source: ObjectSource,
        content_type: str | None,
        metadata: Mapping[str, str] | None,
        *,
        only_new: bool,
    ) -> ObjectInfo:
        self._runtime.connection.require_own_loop()
        require_key(self.spec.name, key)
        require_texts(content_type, metadata or {})
        self._check_size(key, size_of_source(source) or 0)
        if only_new:
            await self._records.require_none(key)
        object_id = new_id()
        writer = ChunkWriter(self._runtime.connection, self._binding.name, object_id, timeout=self._timeout)
        try:
            size, digest = await self._write_chunks(key, source, writer)
        except BaseException as error:  # noqa: BLE001 - it is raised again; a cancellation must leave nothing either
            await self._in_background(self._discard(object_id, writer))
            raise self._as_store_error(key, error) from None
        info = ObjectInfo(
            key=key,
            size=size,
            digest=digest,
            content_type=content_type,
            metadata=dict(metadata or {}),
            updated=now(),
        )
        new = _NewObject(object_id=object_id, chunks=writer.count, info=info)
        # Once it begins it ends, even when the caller is cancelled: half of it would leave chunks that nothing uses.
        await self._in_background(self._commit(new, only_new=only_new))
        return info

    async def _write_chunks(self, key: str, source: ObjectSource, writer: ChunkWriter) -> tuple[int, str]:
        sha256, size = hashlib.sha256(), 0
        async with aclosing(cut_source(source, CHUNK_BYTES)) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                self._check_size(key, size)
                sha256.update(chunk)
                await writer.write(chunk)
        await writer.finish()
        return size, write_digest(sha256.digest())

    async def _commit(self, new: _NewObject, *, only_new: bool) -> None:
        """Make an object visible, and remove the chunks of the one that it replaced."""
        key = new.info.key
        try:
            replaced = await self._records.replace(
                new.info, object_id=new.object_id, chunks=new.chunks, only_new=only_new
            )
        except WriteUnknown:
            raise  # it may be visible: its chunks must stay
        except ObjectExists:
            await self._remove_chunks(new.object_id)
            raise
        except TransportError as error:
            await self._remove_chunks(new.object_id)
            raise self._as_store_error(key, error) from None
        if replaced is not None:
            await self._remove_chunks(replaced.object_id)

    async def _discard(self, object_id: str, writer: ChunkWriter) -> None:
        """Remove what was sent of an object that will not be."""
        await writer.abandon()
        if writer.count:
            await self._remove_chunks(object_id)

    async def _in_background(self, work: Coroutine[object, object, None]) -> None:
        """Wait for something that continues when the caller is cancelled."""
        task = asyncio.create_task(work)
        self._cleanups.add(task)
        task.add_done_callback(self._on_cleaned)
        await asyncio.shield(task)

    def _on_cleaned(self, task: asyncio.Task[None]) -> None:
        self._cleanups.discard(task)
        if not task.cancelled():
            task.exception()  # counts as retrieved; a caller that still waits gets it

    async def _remove_chunks(self, object_id: str) -> None:
        """Remove the chunks of an object that is not visible. What cannot be removed only takes room."""
        stream, chunks = object_stream(self._binding.name), chunk_subject(self._binding.name, object_id)
        try:
            await purge_stream(self._runtime.connection, stream, chunks)
        except TransportError as error:
            _log.warning(
                'store "%s": chunks that no object uses were not removed from %s: %s',
                self.spec.name,
                chunks,
                error,
                extra=log_fields(LogEvent.CHUNKS_LEFT, stream=stream, subject=chunks),
            )

    def _check_size(self, key: str, size: int) -> None:
        limit = self._binding.max_object_bytes
        if limit is not None and size > limit:
            raise ObjectTooLarge(
                f"it is larger than the {limit} bytes that an object may have", store=self.spec.name, key=key
            )

    def _as_store_error(self, key: str, error: BaseException) -> BaseException:
        if isinstance(error, ApiError) and error.err_code == _FULL:
            return StoreFull("the store has no room for it", store=self.spec.name, key=key)
        return error

    # --- the server ------------------------------------------------------------------------------------------------

    def _stored(self, meta: ObjectMeta) -> StoredObject:
        def open_chunks() -> AsyncGenerator[bytes, None]:
            self._runtime.connection.require_own_loop()
            reader = ObjectReader(
                self._runtime.connection,
                self._binding.name,
                meta,
                store=self.spec.name,
                may_pull=self._may_pull(),
                find_current=lambda: self._records.find(meta.info.key),
            )
            return reader.chunks()

        return StoredObject(meta.info, open_chunks)

    @cached_property
    def _timeout(self) -> timedelta:
        return self._runtime.options.request_timeout

    @cached_property
    def _binding(self) -> StoreBinding:
        binding = self._runtime.binding.store.get(self.spec.name)
        if binding is None:
            raise ConfigurationError(f'the binding has no store "{self.spec.name}"')
        return binding

    def _may_pull(self) -> bool:
        return not any(map(self._runtime.lacks, read_grants(self._binding)))

    @cached_property
    def _records(self) -> ObjectRecords:
        return ObjectRecords(
            self._runtime.connection,
            self._binding.name,
            store=self.spec.name,
            timeout=self._timeout,
            may_pull=self._may_pull,
        )


@dataclass(frozen=True)
class _RegisteredStore(StoreSurface):
    store: Store


def find_store(runtime: Runtime, name: str) -> Store:
    """Return a store of the service by its name in the contract.

    Raises:
        ConfigurationError: the service has no such store.
    """
    for surface in runtime.surfaces:
        if isinstance(surface, _RegisteredStore) and surface.spec.name == name:
            return surface.store
    raise ConfigurationError(f'the service has no store "{name}"')
