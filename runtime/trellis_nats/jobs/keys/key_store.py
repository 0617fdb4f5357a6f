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
from trellis_nats.clock import now, timestamp
from trellis_nats.errors import (
    KeyContended,
    MalformedKeyRecord,
    TransportError,
    WriteUnknown,
    WrongLastSequence,
)
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import InvalidRecord, KeyRecord
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.store.write_fate import WriteFate

__all__ = ["KeyStore", "KeyStores", "Reducer"]

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


class _Stored(NamedTuple):
    record: KeyRecord
    revision: int
    is_certain: bool = False
    """Whether the leader has just returned it. A replica, or this process's memory, may be outdated."""


class _WriterLocks:
    """The locks of one key's writers in this process: writers wait here instead of causing conflicts at the server.

    Low-priority writers have a lock of their own: a release does not wait behind submissions of new jobs.
    """

    __slots__ = ("high_priority", "low_priority", "users")

    def __init__(self) -> None:
        self.high_priority = asyncio.Lock()
        self.low_priority = asyncio.Lock()
        self.users = 0


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
        self._bucket = KvBucket(connection, bucket)
        self._namespace = namespace
        self.queue = queue
        self.writes = WriteFate()
        """How the last write of a record ended."""
        self._policy = policy
        self._timeout = timeout
        self._locks: dict[str, _WriterLocks] = {}
        self._remembered: OrderedDict[str, _Stored] = OrderedDict()
        """The newest records that this process knows, least recently used first."""
        self._last_was_new = False
        """Whether the last record that this process read did not exist."""

    @property
    def limit_bytes(self) -> int:
        """The largest record that the server accepts as a message."""
        return self._bucket.limit_bytes

    def subject(self, key: JobKey) -> str:
        """Return the subject on which changes of a record are published."""
        return kv_subject(self._bucket.name, self._name(key))

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
        self, key: JobKey, reduce: Reducer[T], *, low_priority: bool = False, may_be_new: bool = False
    ) -> T:
        """Apply a reducer to the newest record, and return its result once the change is stored.

        A result that changes nothing is returned only for a record that the stream leader has returned.

        Args:
            key: the key of the record.
            reduce: makes the change.
            low_priority: let other writers go first when many write at once.
            may_be_new: write the first record of the key without a read, if the last unknown key had no record either.

        Raises:
            MalformedKeyRecord: the stored value is not a valid record of the key; it is unchanged.
            KeyContended: other writers were faster a hundred times in a row.
            WriteUnknown: a write was not answered, and what followed did not show whether the change is stored.
            TransportError: NATS refused the write, or did not answer.
        """
        unanswered = list[WriteUnknown]()
        locks = self._locks.get(key.hash)
        if locks is None:
            locks = self._locks[key.hash] = _WriterLocks()
        locks.users += 1
        try:
            lock = locks.low_priority if low_priority else locks.high_priority
            await lock.acquire()  # `async with` creates three coroutines
            try:
                return await self._change(
                    key, reduce, unanswered, low_priority=low_priority, may_be_new=may_be_new
                )
            except TransportError as error:
                if not unanswered or isinstance(error, WriteUnknown | KeyContended):
                    raise
                text = f'the change of key "{key.display}" may have been stored: {error}'
                raise WriteUnknown(text) from error
            finally:
                lock.release()
        finally:
            locks.users -= 1
            if not locks.users:
                del self._locks[key.hash]

    async def _change(
        self,
        key: JobKey,
        reduce: Reducer[T],
        unanswered: list[WriteUnknown],
        *,
        low_priority: bool,
        may_be_new: bool,
    ) -> T:
        name = self._name(key)
        stored = self._remembered.pop(key.hash, None)
        is_guess = stored is None and may_be_new and self._last_was_new
        stored = _Stored(self._empty(key), 0) if is_guess else stored
        pauses: Backoff | None = None
        leader = False
        for _ in range(_ATTEMPTS_MAX):
            if stored is None:
                stored, is_guess = await self._read(key, name, leader=leader), False
            changed, result = reduce(stored.record)
            if changed == stored.record:
                if stored.is_certain:
                    self._remember(key, stored.record, stored.revision)
                    return result
                stored, leader = None, True
                continue
            written = self._stamp(changed)
            try:
                revision = await self._write(name, written, stored.revision)
            except WrongLastSequence:
                stored = None
                if is_guess:
                    self._last_was_new = False
                    continue
                leader = True
                pauses = pauses or Backoff(
                    _PAUSE_FIRST, _LOW_PRIORITY_PAUSE_LONGEST if low_priority else _PAUSE_LONGEST
                )
                await asyncio.sleep(pauses.next().total_seconds())
            except WriteUnknown as error:
                stored, leader = None, True
                unanswered.append(error)
                if len(unanswered) == _UNKNOWN_MAX:
                    raise
            else:
                self._remember(key, written, revision)
                return result
        raise KeyContended(
            f'key "{key.display}": other writers changed its record "{name}" {_ATTEMPTS_MAX} times in a row'
        )

    async def _write(self, name: str, record: KeyRecord, revision: int) -> int:
        try:
            ack = await self._bucket.update(name, record.encode(), revision, timeout=self._timeout)
        except TransportError as error:
            self.writes.fail(error)
            raise
        self.writes.succeed()
        return ack.sequence

    def _remember(self, key: JobKey, record: KeyRecord, revision: int) -> None:
        self._remembered[key.hash] = _Stored(record, revision)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    def _stamp(self, record: KeyRecord) -> KeyRecord:
        stated = record if self._policy is None else self._policy
        return record.with_stamp(
            max_active=stated.max_active, max_queued=stated.max_queued, at=timestamp(now())
        )

    async def _read(self, key: JobKey, name: str, *, leader: bool) -> _Stored:
        found = await self._bucket.get(name, leader=leader, timeout=self._timeout)
        self._last_was_new = found is None
        if found is None or not _has_value(found):
            return _Stored(self._empty(key), 0 if found is None else found.revision, is_certain=leader)
        try:
            record = KeyRecord.parse(
                found.value, service=self._namespace, queue=self.queue, key_hash=key.hash
            )
        except InvalidRecord as problem:
            raise MalformedKeyRecord(
                key.display, bucket=self._bucket.name, name=name, problem=str(problem)
            ) from None
        return _Stored(record, found.revision, is_certain=leader)

    def _empty(self, key: JobKey) -> KeyRecord:
        policy = self._policy or _DEFAULTS
        return KeyRecord(
            service=self._namespace,
            queue=self.queue,
            display=key.text,
            hash=key.hash,
            max_active=policy.max_active,
            max_queued=policy.max_queued,
        )

    def _name(self, key: JobKey) -> str:
        return f"{self._namespace}.{self.queue}.{key.hash}"


def _has_value(found: KvRecord) -> bool:
    """Return whether there is a value; an operator may have deleted the record."""
    return found.operation == "PUT"
