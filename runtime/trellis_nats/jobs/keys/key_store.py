"""Reads the records of one queue's keys, and changes them by compare-and-set."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple, TypeVar

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord, kv_subject
from trellis_nats._nats.link.backoff import Backoff
from trellis_nats._support.named_turns import NamedTurns
from trellis_nats.clock import now, timestamp
from trellis_nats.errors import (
    KeyContended,
    MalformedKeyRecord,
    TransportError,
    WriteUnknown,
    WrongLastSequence,
)
from trellis_nats.jobs.keys.model.left_record import LeftRecord
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import InvalidRecord, KeyRecord, QueueEntry
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.store.write_fate import WriteFate

__all__ = ["KeyStore", "KeyStores", "Reducer", "StoredRecord"]

T = TypeVar("T")
Reducer = Callable[[KeyRecord], tuple[KeyRecord, T]]
"""Returns the changed record, or an equal one to write nothing, and a result for the caller. It may be called several times,
even on a record that contains its own change: a write whose answer was lost is repeated."""

_ATTEMPTS_MAX: Final = 100
_UNKNOWN_MAX: Final = 3
"""How many unanswered writes of one change are tolerated."""
_PAUSE_FIRST: Final = timedelta(milliseconds=1)
_PAUSE_LONGEST: Final = timedelta(milliseconds=50)
_LOW_PRIORITY_PAUSE_LONGEST: Final = timedelta(milliseconds=500)
"""The pause between conflicting writes. The pause of low-priority writers grows until every writer succeeds, however slow
the machine is: a renewal gets through between them."""
_REMEMBERED: Final = 8192
"""How many keys' newest records a process remembers, to write without a read. About 1.3 KB each with one job."""

_DEFAULTS: Final = KeyPolicy(template=())
"""The limits in the record of a key that has none yet, where no contract says more."""


class StoredRecord(NamedTuple):
    """A record as it was stored at a revision."""

    record: KeyRecord
    revision: int
    is_certain: bool = False
    """Whether the leader has just returned it. A replica, or this process's memory, may be outdated."""


class KeyStores:
    """The key stores of one queue, one for each event loop of a process."""

    def __init__(self, make: Callable[[Connection], KeyStore], connection: Connection) -> None:
        self.main = make(connection)
        """The store of the service's event loop."""
        self._make = make
        self._in_thread: tuple[Connection, KeyStore] | None = None

    def get_for_thread(self, connection: Connection) -> KeyStore:
        """Return the store of the heartbeat thread and its connection."""
        known = self._in_thread
        if known is None or known[0] is not connection:
            known = self._in_thread = (connection, self._make(connection))
        return known[1]


class KeyStore:
    """Reads and changes the records of one queue's keys. It never deletes a record, which other runtimes treat as damage.

    A store belongs to the event loop of its connection.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        bucket: str,
        namespace: str,
        queue: str,
        policy: KeyPolicy | None,
        timeout: timedelta,
    ) -> None:
        """Prepare. `policy` is that of the contract; None: records keep the limits that they state."""
        self._bucket = KvBucket(connection, bucket, timeout=timeout)
        self._namespace = namespace
        self._prefix = f"{namespace}.{queue}."
        """What the names of the records begin with; the hashes of the keys follow."""
        self.queue = queue
        self.writes = WriteFate()
        """How the last write of a record ended."""
        self._policy = policy
        self._high_priority, self._low_priority = NamedTurns(), NamedTurns()
        """The turns of this process's writers, by the hash of the key: they wait here instead of causing conflicts at the
        server. A release does not wait behind submissions of new jobs."""
        self._remembered: OrderedDict[str, StoredRecord] = OrderedDict()
        """The newest records that this process knows, least recently used first."""
        self._last_was_new = False
        """Whether the last unknown key to which a job was admitted had no record yet."""
        self._was_outdated = False
        """Whether the last remembered record to which a job was admitted had been changed by another process."""

    @property
    def limit_bytes(self) -> int:
        """The largest record that the server accepts as a message."""
        return self._bucket.limit_bytes

    def subject(self, key: JobKey) -> str:
        """Return the subject on which changes of a record are published."""
        return kv_subject(self._bucket.name, f"{self._prefix}{key.hash}")

    def parse(self, key: JobKey, data: bytes) -> KeyRecord | None:
        """Decode a record that was received. None: it is not a valid record of the key."""
        try:
            return KeyRecord.parse(data, service=self._namespace, queue=self.queue, key_hash=key.hash)
        except InvalidRecord:
            return None

    async def read(self, key: JobKey) -> KeyRecord:
        """Return the newest record of the key, read from the stream leader. A key without a record gets an empty one.

        Raises:
            MalformedKeyRecord: the stored value is not a valid record of the key.
            TransportError: NATS did not answer.
        """
        return await self.change(key, lambda record: (record, record))

    async def change(
        self, key: JobKey, reduce: Reducer[T], *, low_priority: bool = False, admits: bool = False
    ) -> T:
        """Apply a reducer to the newest record, and return its result once the change is stored.

        A result that changes nothing is returned only for a record that the stream leader has returned.

        Args:
            key: the key of the record.
            reduce: makes the change.
            low_priority: let other writers go first when many write at once.
            admits: the change admits a new job. It then depends on the last admissions whether this process writes
                without a read: where unknown keys had no record yet, and where it had the newest records in memory.

        Raises:
            MalformedKeyRecord: the stored value is not a valid record of the key; it is unchanged.
            KeyContended: other writers were faster a hundred times in a row.
            WriteUnknown: a write was not answered, and what followed did not show whether the change is stored.
            TransportError: NATS refused the write, or did not answer.
        """
        unanswered: list[WriteUnknown] = []
        turns = self._low_priority if low_priority else self._high_priority
        if not turns.try_take(key.hash):
            await turns.take(key.hash)
        try:
            return await self._change(key, reduce, unanswered, low_priority=low_priority, admits=admits)
        except TransportError as error:
            if not unanswered or isinstance(error, WriteUnknown | KeyContended):
                raise
            text = f'the change of key "{key.display}" may have been stored: {error}'
            raise WriteUnknown(text) from error
        finally:
            turns.end(key.hash)

    async def _change(
        self,
        key: JobKey,
        reduce: Reducer[T],
        unanswered: list[WriteUnknown],
        *,
        low_priority: bool,
        admits: bool,
    ) -> T:
        name = f"{self._prefix}{key.hash}"
        remembered = self._remembered.pop(key.hash, None)
        stored = self._assume(key, remembered) if admits else remembered
        is_assumed = stored is not None
        pauses: Backoff | None = None
        leader = False
        for _ in range(_ATTEMPTS_MAX):
            if stored is None:
                stored = await self._read(key, name, leader=leader)
                self._compare(stored, remembered, admits=admits)
            changed, result = reduce(stored.record)
            if changed is stored.record or changed == stored.record:
                if stored.is_certain:
                    self._remember(key, stored.record, stored.revision)
                    return result
                leader = True
            else:
                try:
                    revision = await self._write(name, changed, stored.revision)
                except WrongLastSequence:
                    leader = remembered is not None or not is_assumed
                    if not is_assumed:  # an assumed record had changed earlier, which is not a conflict
                        longest = _LOW_PRIORITY_PAUSE_LONGEST if low_priority else _PAUSE_LONGEST
                        pauses = pauses or Backoff(_PAUSE_FIRST, longest)
                        await asyncio.sleep(pauses.next().total_seconds())
                except WriteUnknown as error:
                    leader = True
                    unanswered.append(error)
                    if len(unanswered) == _UNKNOWN_MAX:
                        raise
                else:
                    self._remember(key, changed, revision)
                    return result
            stored, is_assumed = None, False
        raise KeyContended(
            f'key "{key.display}": other writers changed its record "{name}" {_ATTEMPTS_MAX} times in a row'
        )

    async def _write(self, name: str, record: KeyRecord, revision: int) -> int:
        try:
            ack = await self._bucket.update(name, self._encode(record), revision)
        except TransportError as error:
            self.writes.fail(error)
            raise
        self.writes.succeed()
        return ack.sequence

    def _assume(self, key: JobKey, remembered: StoredRecord | None) -> StoredRecord | None:
        """Return the record to which a job is admitted without a read. None: read it, as the last admissions suggest."""
        if remembered is not None:
            return None if self._was_outdated else remembered
        return StoredRecord(self._empty(key), 0) if self._last_was_new else None

    def _compare(self, stored: StoredRecord, remembered: StoredRecord | None, *, admits: bool) -> None:
        """Note, for the next admissions, whether a record that was read could have been assumed."""
        if admits and remembered is None:
            self._last_was_new = stored.revision == 0
        elif admits and remembered is not None:
            self._was_outdated = stored.revision != remembered.revision

    def known(self, key: JobKey) -> StoredRecord | None:
        """Return the newest record of a key that this process knows. It may be outdated: a change then reads it."""
        return self._remembered.get(key.hash)

    def learn(self, key: JobKey, left: LeftRecord, entry: QueueEntry) -> None:
        """Remember a record with one entry that another process has written, if it is the newest that this process knows."""
        known = self._remembered.get(key.hash)
        if known is None or known.revision < left.revision:
            record = self._empty(key)._replace(queued=(entry,), takeovers=left.takeovers)
            self._remember(key, record, left.revision)

    def _remember(self, key: JobKey, record: KeyRecord, revision: int) -> None:
        self._remembered[key.hash] = StoredRecord(record, revision)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    def _encode(self, record: KeyRecord) -> bytes:
        """Encode a record with the time and the limits of this writer."""
        limits = record if self._policy is None else self._policy
        return record.encode_stamped(limits.max_active, limits.max_queued, timestamp(now()))

    async def _read(self, key: JobKey, name: str, *, leader: bool) -> StoredRecord:
        found = await self._bucket.get(name, leader=leader)
        if found is None or not _has_value(found):
            return StoredRecord(self._empty(key), 0 if found is None else found.revision, is_certain=leader)
        try:
            record = KeyRecord.parse(
                found.value, service=self._namespace, queue=self.queue, key_hash=key.hash
            )
        except InvalidRecord as problem:
            raise MalformedKeyRecord(
                key.display, bucket=self._bucket.name, name=name, problem=str(problem)
            ) from None
        return StoredRecord(record, found.revision, is_certain=leader)

    def _empty(self, key: JobKey) -> KeyRecord:
        policy = self._policy or _DEFAULTS
        return KeyRecord(
            self._namespace, self.queue, key.text, key.hash, policy.max_active, policy.max_queued
        )


def _has_value(found: KvRecord) -> bool:
    """Return whether there is a value; an operator may have deleted the record."""
    return found.operation == "PUT"
