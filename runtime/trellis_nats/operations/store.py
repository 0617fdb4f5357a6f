"""The stored operations of a service: reads, and writes that no other process can undo unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from trellis_nats._nats.jetstream.kv import KvBucket, KvEntry, KvRecord
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats.errors import (
    OperationNotFound,
    PayloadTooLarge,
    TransportError,
    WriteUnknown,
    WrongLastSequence,
)
from trellis_nats.ids import is_token
from trellis_nats.operations.model.record import OperationRecord

__all__ = ["OperationStore", "Stored", "read_stored"]

_ENDED: Final = "trellis-operation-ended"
"""The header of a record whose operation has ended: a process that starts need not read it."""
_PURGES_PER_SECOND: Final = 1_000
"""A server takes 0.4 to 0.9 ms for a purge."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it is stored."""

    record: OperationRecord
    revision: int
    """Of the bucket: grows with every write to the record, events or not."""


class OperationStore:
    """The records in one bucket. Every method may raise the transport errors of `KvBucket`."""

    def __init__(self, bucket: KvBucket) -> None:
        self.bucket = bucket

    async def read(self, operation_id: str) -> Stored | None:
        """Read a record; every acknowledged write is seen. None: there is none, or it cannot be read."""
        if not is_token(operation_id):
            return None
        stored = await self.bucket.get(operation_id, leader=True)
        return None if stored is None else read_stored(stored)

    async def require(self, operation_id: str) -> Stored:
        """Read a record.

        Raises:
            OperationNotFound: there is none.
        """
        stored = await self.read(operation_id)
        if stored is None:
            raise OperationNotFound(operation_id)
        return stored

    async def read_history(self, operation_id: str) -> list[Stored]:
        """Read the stored revisions of a record, oldest first: at most as many as the bucket's history."""
        records = await self.bucket.history(operation_id)
        return [stored for record in records if (stored := read_stored(record)) is not None]

    async def list_open(self) -> list[str]:
        """Return the ids of the operations that may not have ended, without reading them."""
        return await self.bucket.keys("*", without_header=_ENDED)

    async def purge_ended(self, age: timedelta, *, limit: int, may_continue: Callable[[], bool]) -> int:
        """Purge what ended at least so long ago, and return how much it was: operations, and leases that were given back.

        Open operations stay, however old they are; so do those that another runtime ended.

        Args:
            age: how long a record is kept after its last change.
            limit: how many are purged at most.
            may_continue: the purge stops early once this returns False.

        Raises:
            PermissionDenied: the account may not purge the bucket.
        """
        # The scan ends before the first purge: while a consumer reads the stream, a purge costs more.
        ended = await self.bucket.keys_before(">", age, is_wanted=_is_over, limit=limit)
        purged, rate = 0, RateLimit(_PURGES_PER_SECOND)
        for entry in ended:
            if not may_continue():
                break
            await rate.spend(1)
            await self.bucket.remove(entry.key, up_to=entry.revision)
            purged += 1
        return purged

    async def create(self, record: OperationRecord) -> Stored:
        """Store a new operation.

        Raises:
            PayloadTooLarge: the record does not fit into a message, or leaves no room for its end; nothing was stored.
            WriteUnknown: it may have been stored.
        """
        return await self._write(record, 0, keeps_room=True)

    async def change(
        self,
        operation_id: str,
        decide: Callable[[OperationRecord], OperationRecord | None],
        *,
        known: Stored | None = None,
        keeps_room: bool = False,
    ) -> Stored:
        """Replace a record by what `decide` returns for it, and return what is stored then.

        `decide` is called again when another process was first, or when it is not known whether the write was stored.
        It returns None when there is nothing to write, in particular when its change is stored already.

        Args:
            operation_id: which one.
            decide: returns the new record. What it raises ends the call.
            known: the record as it was read or written last, which saves a read.
            keeps_room: whether the new record must leave room for its end: an operation that cannot end runs again and again.

        Raises:
            OperationNotFound: there is none.
            PayloadTooLarge: the new record does not fit into a message; nothing was stored.
            WriteUnknown: a write was not answered, and the record cannot be read; it may be changed.
        """
        current, is_unknown = known or await self.require(operation_id), False
        while (changed := decide(current.record)) is not None:
            try:
                return await self._write(changed, current.revision, keeps_room=keeps_room)
            except (WrongLastSequence, WriteUnknown) as error:
                is_unknown = is_unknown or isinstance(error, WriteUnknown)
            try:
                current = await self.require(operation_id)
            except TransportError as error:
                if not is_unknown:
                    raise
                text = f"the change of operation {operation_id} may have been stored: {error}"
                raise WriteUnknown(text) from error
        return current

    async def _write(self, record: OperationRecord, revision: int, *, keeps_room: bool) -> Stored:
        data, limit = record.encode(), self.bucket.limit_bytes
        if keeps_room and len(data) > limit:
            raise PayloadTooLarge(record.id, size_bytes=len(data), limit_bytes=limit)
        written = await self.bucket.put(
            record.id,
            data,
            expected_revision=revision,
            headers={_ENDED: "1"} if record.has_ended else None,
        )
        return Stored(record, written)


def _is_over(entry: KvEntry) -> bool:
    return entry.operation != "PUT" or _ENDED in entry.headers


def read_stored(record: KvRecord) -> Stored | None:
    """Read a record of the bucket. None: it is deleted, or not the record of an operation."""
    if record.operation != "PUT":
        return None
    operation = OperationRecord.parse(record.value)
    return None if operation is None or operation.id != record.key else Stored(operation, record.revision)
