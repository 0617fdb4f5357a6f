"""The records of a store: which object each key has. Every change is a compare-and-set on the record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import split_ack_subject
from trellis_nats._nats.jetstream.object_names import meta_subject, object_stream
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.repeat_write import repeat_write
from trellis_nats._nats.jetstream.stream_follower import follow_stream
from trellis_nats._nats.jetstream.stream_pages import StreamPages
from trellis_nats._nats.jetstream.streams import StoredMessage, get_last_message_from_leader
from trellis_nats._nats.outages import through_outages
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.clock import from_unix_nanoseconds, now
from trellis_nats.errors import (
    ObjectDamaged,
    ObjectExists,
    PermissionDenied,
    TransportError,
    WriteUnknown,
    WrongLastSequence,
)
from trellis_nats.ids import new_id
from trellis_nats.stores.meta import ObjectMeta, read_meta, write_deleted, write_meta
from trellis_nats.stores.object import ObjectInfo

__all__ = ["ObjectRecords"]

_log = logging.getLogger(__name__)

_ROLLUP: Final = {"Nats-Rollup": "sub"}
"""The server keeps only the newest record of a key."""
_POLL: Final = timedelta(milliseconds=250)
"""The pause between reads of a record that cannot be followed; that of other runtimes."""
_PAGE: Final = 500
"""How many records are listed at a time, about 200 kB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Newest:
    """The newest record of a key."""

    sequence: int
    """0: there is none."""
    meta: ObjectMeta | None = None
    """None: there is no object, or the record is malformed."""
    problem: ObjectDamaged | None = None

    @property
    def is_free(self) -> bool:
        return self.meta is None and self.problem is None


class ObjectRecords:
    """Reads and replaces records. Every method may raise the transport errors of `publish_acked`."""

    def __init__(
        self,
        connection: Connection,
        bucket: str,
        *,
        store: str,
        timeout: timedelta,
        may_pull: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._bucket = bucket
        self._store = store
        self._stream = object_stream(bucket)
        self._timeout = timeout
        self._may_pull = may_pull
        self._log_throttle = LogThrottle(_log)

    async def find(self, key: str) -> ObjectMeta | None:
        """Return the object of a key, from the leader; None when there is none.

        Raises:
            ObjectDamaged: the record is malformed.
        """
        newest = await self._newest(key)
        if newest.problem is not None:
            raise newest.problem
        return newest.meta

    async def require_none(self, key: str) -> None:
        """Check that a key has no object.

        Raises:
            ObjectExists: it has one.
        """
        self._require_free(key, await self._newest(key))

    async def replace(
        self, info: ObjectInfo, *, object_id: str, chunks: int, only_new: bool
    ) -> ObjectMeta | None:
        """Make an object that of its key, and return the one that it replaced.

        Raises:
            ObjectExists: with `only_new`, the key has an object.
            WriteUnknown: it may have been stored.
        """
        data = write_meta(self._bucket, info, object_id=object_id, chunks=chunks)

        def is_own(newest: _Newest) -> bool:
            return newest.meta is not None and newest.meta.object_id == object_id

        while True:  # a turn more for each writer that was faster
            newest = await self._newest(info.key)
            if only_new:
                self._require_free(info.key, newest)
            try:
                await self._write(info.key, data, newest, is_own)
            except WrongLastSequence:
                continue
            return newest.meta

    async def delete(self, key: str) -> ObjectMeta | None:
        """Mark the object of a key as deleted, and return it; None when there was none, or its record was malformed.

        Raises:
            WriteUnknown: it may have been deleted.
        """
        while True:
            newest = await self._newest(key)
            if newest.is_free:
                return None
            object_id = "" if newest.meta is None else newest.meta.object_id
            data = write_deleted(self._bucket, key, object_id=object_id, at=now())
            try:
                await self._write(key, data, newest, lambda found: found.is_free)
            except WrongLastSequence:
                continue
            return newest.meta

    async def list(self) -> list[ObjectMeta]:
        """Return the objects of all keys. Raises as `StreamPages`."""
        pages = StreamPages(
            self._connection,
            self._stream,
            meta_subject(self._bucket),
            latest=True,
            may_pull=self._may_pull(),
        )
        newest: dict[str, StoredMessage] = {}
        try:
            await pages.open()
            is_last = False
            while not is_last:
                messages, is_last = await pages.read(_PAGE)
                newest |= {message.subject: message for message in messages}
        finally:
            await pages.close()
        read = (self._read(message.subject, message.data, message.time) for message in newest.values())
        return [meta for meta in read if meta is not None]

    async def wait_for(self, key: str) -> ObjectMeta:
        """Return the object of a key as soon as there is one. Raises as `follow_stream`, but for `PermissionDenied`."""
        if self._may_pull():
            with suppress(PermissionDenied):
                return await self._follow(key)
        while True:
            meta = await self._find_through_outages(key)
            if meta is not None:
                return meta
            await asyncio.sleep(_POLL.total_seconds())

    async def _follow(self, key: str) -> ObjectMeta:
        subject = meta_subject(self._bucket, key)
        async with follow_stream(
            self._connection, self._stream, subject, after=None, latest=True
        ) as messages:
            async for message in messages:
                stored = from_unix_nanoseconds(int(split_ack_subject(message.reply)[3]))
                meta = self._read(message.subject, message.data, stored)
                if meta is not None:
                    return meta
        raise AssertionError("a stream that is followed does not end")

    async def _find_through_outages(self, key: str) -> ObjectMeta | None:
        """Return the object of a key; None while there is none, or its record is malformed."""
        newest = await through_outages(
            self._connection, partial(self._newest, key), what=meta_subject(self._bucket, key)
        )
        return newest.meta

    def _require_free(self, key: str, newest: _Newest) -> None:
        if not newest.is_free:
            raise ObjectExists("there is one already", store=self._store, key=key)

    async def _newest(self, key: str) -> _Newest:
        stored = await get_last_message_from_leader(
            self._connection,
            self._stream,
            meta_subject(self._bucket, key),
            timeout=self._timeout,
            answer=AnswerSize.SMALL,
        )
        if stored is None:
            return _Newest(sequence=0)
        try:
            meta = read_meta(self._store, key, stored.data, stored=stored.time)
        except ObjectDamaged as problem:
            return _Newest(sequence=stored.sequence, problem=problem)
        return _Newest(sequence=stored.sequence, meta=meta)

    async def _write(self, key: str, data: bytes, newest: _Newest, is_own: Callable[[_Newest], bool]) -> None:
        """Write a record, only if the newest one is still the given one.

        Raises:
            WrongLastSequence: it is not; nothing was stored.
            WriteUnknown: it may have been stored, and reading the record did not show it.
        """
        subject, write_id = meta_subject(self._bucket, key), new_id()
        try:
            await repeat_write(
                lambda: publish_acked(
                    self._connection,
                    subject,
                    data,
                    headers=_ROLLUP,
                    message_id=write_id,
                    expected_last_on_subject=newest.sequence,
                    timeout=self._timeout,
                ),
                what=subject,
            )
        except WriteUnknown:
            if not await self._is_stored(key, is_own):
                raise

    async def _is_stored(self, key: str, is_own: Callable[[_Newest], bool]) -> bool:
        try:
            return is_own(await self._newest(key))
        except TransportError:
            return False

    def _read(self, subject: str, data: bytes, stored: datetime) -> ObjectMeta | None:
        """Read a record; None for an object that is deleted, or whose record is malformed."""
        try:
            return read_meta(self._store, subject, data, stored=stored)
        except ObjectDamaged as error:
            fields = log_fields(LogEvent.VALUE_SKIPPED)
            self._log_throttle.write(
                logging.WARNING, LogEvent.VALUE_SKIPPED, "skipped a record: %s", error, extra=fields
            )
            return None
