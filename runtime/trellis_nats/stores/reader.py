"""Reads the chunks of an object: in order, verified, across reconnects, with one page read ahead."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.object_names import chunk_subject, object_stream
from trellis_nats._nats.jetstream.stream_pages import Page, StreamPages
from trellis_nats._nats.outages import through_outages
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats.clock import describe_duration
from trellis_nats.errors import NoResponders, NotConnected, ObjectDamaged, ObjectReplaced, RequestTimeout
from trellis_nats.stores.meta import ObjectMeta

__all__ = ["ObjectReader", "write_digest"]

_PAGE_BYTES: Final = 1024 * 1024
"""How much is asked for at a time. Two pages are in memory: the one that is used, and the next one."""
_PATIENCE: Final = timedelta(minutes=1)
"""How long an outage may delay a page."""
_LAGS_MAX: Final = 5
"""How often to ask again for chunks that are missing although the object is still there: a replica may be behind."""
_LAG: Final = timedelta(milliseconds=200)


def write_digest(sha256: bytes) -> str:
    """Write a digest as NATS does."""
    return f"SHA-256={base64.urlsafe_b64encode(sha256).decode()}"


class ObjectReader:
    """One pass over the content of an object."""

    def __init__(
        self,
        connection: Connection,
        bucket: str,
        meta: ObjectMeta,
        *,
        store: str,
        may_pull: bool,
        find_current: Callable[[], Awaitable[ObjectMeta | None]],
    ) -> None:
        """Prepare.

        Args:
            connection: where the store is.
            bucket: its name on the server.
            meta: the object.
            store: the name of the store in the contract, for errors.
            may_pull: whether the account may pull from consumers of the store, as far as is known.
            find_current: reads which object the key has now.
        """
        self._connection = connection
        self._meta = meta
        self._store = store
        self._find_current = find_current
        self._filter = chunk_subject(bucket, meta.object_id)
        self._pages = StreamPages(connection, object_stream(bucket), self._filter, may_pull=may_pull)
        self._is_open = False
        self._lags = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the content, and then verify it."""
        sha256, size = hashlib.sha256(), 0
        info = self._meta.info
        async with aclosing(self._read_chunks()) as chunks:
            async for chunk in chunks:
                sha256.update(chunk)
                size += len(chunk)
                if size > info.size:
                    raise self._damaged(f"it has more than the {info.size} bytes that its record says")
                yield chunk
        if size != info.size:
            raise self._damaged(f"it has {size} bytes, not the {info.size} that its record says")
        if info.digest is not None and write_digest(sha256.digest()) != info.digest:
            raise self._damaged("its content does not match its digest")

    async def _read_chunks(self) -> AsyncGenerator[bytes, None]:
        left = self._meta.chunks
        upcoming = self._begin_page(left)
        try:
            while upcoming is not None:
                chunks = await upcoming
                left -= len(chunks)
                upcoming = self._begin_page(left)
                for chunk in chunks:
                    yield chunk
        finally:
            if upcoming is not None:
                await _end(upcoming)
            await self._pages.close()

    def _begin_page(self, left: int) -> asyncio.Task[list[bytes]] | None:
        if not left:
            return None
        chunk_bytes = self._meta.chunk_bytes or self._connection.max_payload
        size = min(left, max(1, _PAGE_BYTES // chunk_bytes))
        return asyncio.create_task(self._read_page(size), name=f"read {self._filter}")

    async def _read_page(self, size: int) -> list[bytes]:
        """Read at least one chunk, through outages. Of all readers, only so many have their turn as the connection can take."""
        budget = self._connection.reads[AnswerSize.PAGE]
        reserved = await budget.acquire(self._connection.max_payload)
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                while True:
                    page = await self._try_page(size)
                    if page.messages:
                        chunks = [message.data for message in page.messages]
                        budget.note(sum(map(len, chunks)))
                        return chunks
                    await self._check_missing()
        except TimeoutError:
            limit = describe_duration(_PATIENCE)
            raise RequestTimeout(f'no chunk of "{self._meta.info.key}" came within {limit}') from None
        finally:
            budget.release(reserved)

    async def _try_page(self, size: int) -> Page:
        while True:
            if not self._is_open:
                await through_outages(self._connection, self._pages.open, what=f"reading {self._filter}")
                self._is_open = True
            try:
                return await self._pages.read(size)
            except (RequestTimeout, NoResponders, NotConnected):
                self._is_open = False
                await asyncio.sleep(_LAG.total_seconds())

    async def _check_missing(self) -> None:
        """Find out why the stream has no more chunks, although the object has."""
        current = await through_outages(self._connection, self._find_current, what=f"reading {self._filter}")
        if current is None or current.object_id != self._meta.object_id:
            raise ObjectReplaced(
                "it was replaced or deleted while it was read", store=self._store, key=self._meta.info.key
            )
        self._lags += 1
        if self._lags > _LAGS_MAX:
            raise self._damaged("chunks are missing: they have expired or were removed")
        await asyncio.sleep(_LAG.total_seconds())
        self._is_open = False

    def _damaged(self, problem: str) -> ObjectDamaged:
        return ObjectDamaged(problem, store=self._store, key=self._meta.info.key)


async def _end(task: asyncio.Task[list[bytes]]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # counts as retrieved; the reader has stopped
