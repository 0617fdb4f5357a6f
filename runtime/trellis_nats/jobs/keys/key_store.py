"""The records of one queue's keys, changed by compare-and-set: the only effect that a reducer ever has."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple, TypeVar

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats._nats.link.backoff import Backoff
from trellis_nats.clock import now, timestamp
from trellis_nats.errors import KeyContended, MalformedKeyRecord, WriteUnknown, WrongLastSequence
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, Malformed
from trellis_nats.jobs.keys.model.template import JobKey

__all__ = ["KeyStore", "KeyStores", "Reducer"]

T = TypeVar("T")
Reducer = Callable[[KeyRecord], tuple[KeyRecord, T]]
"""Returns the changed record, or the same one to write nothing, and what the caller wants to know. It may be called
several times, also on a record that holds its own change already: a write whose answer was lost is done again."""

_ATTEMPTS_MAX: Final = 100
_UNKNOWN_MAX: Final = 3
"""How many answers to the writes of one change may be lost."""
_PAUSE_FIRST: Final = timedelta(milliseconds=1)
_PAUSE_LONGEST: Final = timedelta(milliseconds=50)
_PATIENT_PAUSE_LONGEST: Final = timedelta(milliseconds=500)
"""Between conflicting writes. That of a patient writer grows until as many as there are have turns, however slow the
machine is: a lease that must be renewed comes through between them."""
_REMEMBERED: Final = 8192
"""How many keys a process remembers the newest record of, to write without a read. About 1.3 KB each with one job."""


class _Stored(NamedTuple):
    record: KeyRecord
    revision: int
    is_certain: bool = False
    """Whether the leader said so just now. A replica, or what this process remembers, may be old."""


class _Turns:
    """The writers of one key in this process: they take turns instead of racing each other through the server.

    The patient ones have a line of their own: whoever gives a slot back does not wait behind those who want one.
    """

    __slots__ = ("patient", "urgent", "users")

    def __init__(self) -> None:
        self.urgent = asyncio.Lock()
        self.patient = asyncio.Lock()
        self.users = 0


class KeyStores:
    """The records of one queue's keys, as each event loop of a process reaches them."""

    def __init__(self, make: Callable[[Connection], KeyStore], connection: Connection) -> None:
        self.main = make(connection)
        """For the service's event loop."""
        self._make = make
        self._in_thread: tuple[Connection, KeyStore] | None = None

    def run_in_thread(self, connection: Connection) -> KeyStore:
        """Return the one for the heartbeat thread and its connection."""
        known = self._in_thread
        if known is None or known[0] is not connection:
            known = self._in_thread = (connection, self._make(connection))
        return known[1]


class KeyStore:
    """Reads and changes the records of one queue's keys. Never deletes one: other runtimes take that for damage.

    It belongs to the event loop of its connection.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        bucket: str,
        namespace: str,
        queue: str,
        policy: KeyPolicy,
        timeout: timedelta,
    ) -> None:
        self._bucket = KvBucket(connection, bucket)
        self._namespace = namespace
        self._queue = queue
        self._policy = policy
        self._timeout = timeout
        self._turns: dict[str, _Turns] = {}
        self._remembered: OrderedDict[str, _Stored] = OrderedDict()
        """What was stored last, as far as this process knows; the last used at the end."""
        self._are_new = False
        """Whether the last key that this process did not know had no record."""

    @property
    def limit_bytes(self) -> int:
        """How long a record may be, for the server to take it as a message."""
        return self._bucket.limit_bytes

    def subject(self, key: JobKey) -> str:
        """Return the subject on which changes of a record can be heard."""
        return f"$KV.{self._bucket.name}.{self._name(key)}"

    def parse(self, key: JobKey, data: bytes) -> KeyRecord | None:
        """Read a record that was heard; None for what is none."""
        try:
            return KeyRecord.parse(data, service=self._namespace, queue=self._queue, key_hash=key.hash)
        except Malformed:
            return None

    async def read(self, key: JobKey) -> KeyRecord:
        """Return the record as the leader has it; an empty one where there is none.

        Raises:
            MalformedKeyRecord: what is stored is no record of the key.
            TransportError: NATS did not answer.
        """
        return await self.change(key, lambda record: (record, record))

    async def change(
        self, key: JobKey, reduce: Reducer[T], *, patient: bool = False, may_be_new: bool = False
    ) -> T:
        """Apply a reducer to the newest record, and return what it says once its change is stored.

        A `patient` writer lets others go first when many write at once. The record of a key that `may_be_new` is
        written without a read where it would be the first one, as long as most such keys have none. An answer that
        changes nothing is given only on what the leader has.

        Raises:
            MalformedKeyRecord: what is stored is no record of the key; it was not touched.
            KeyContended: others were faster a hundred times in a row.
            WriteUnknown: three answers were lost; the change may be stored.
            TransportError: NATS did not take it, or does not say whether it took an earlier write.
        """
        turns = self._turns.get(key.hash)
        if turns is None:
            turns = self._turns[key.hash] = _Turns()
        turns.users += 1
        try:
            lock = turns.patient if patient else turns.urgent
            await lock.acquire()  # `async with` would take three coroutines
            try:
                return await self._change(key, reduce, patient=patient, may_be_new=may_be_new)
            finally:
                lock.release()
        finally:
            turns.users -= 1
            if not turns.users:
                del self._turns[key.hash]

    async def _change(self, key: JobKey, reduce: Reducer[T], *, patient: bool, may_be_new: bool) -> T:
        name = self._name(key)
        stored = self._remembered.pop(key.hash, None)
        is_guess = stored is None and may_be_new and self._are_new
        stored = _Stored(self._empty(key), 0) if is_guess else stored
        pauses: Backoff | None = None
        unknown = 0
        leader = False
        for _ in range(_ATTEMPTS_MAX):
            if stored is None:
                stored, is_guess = await self._read(key, name, leader=leader), False
            changed, said = reduce(stored.record)
            if changed == stored.record:
                if stored.is_certain:
                    self._remember(key, stored.record, stored.revision)
                    return said
                stored, leader = None, True
                continue
            written = self._stamped(changed)
            try:
                acknowledged = await self._bucket.update(
                    name, written.encode(), stored.revision, timeout=self._timeout
                )
            except WrongLastSequence:
                stored = None
                if is_guess:
                    self._are_new = False
                    continue
                leader = True
                pauses = pauses or Backoff(
                    _PAUSE_FIRST, _PATIENT_PAUSE_LONGEST if patient else _PAUSE_LONGEST
                )
                await asyncio.sleep(pauses.next().total_seconds())
            except WriteUnknown:
                stored, leader = None, True
                unknown += 1
                if unknown == _UNKNOWN_MAX:
                    raise
            else:
                self._remember(key, written, acknowledged.sequence)
                return said
        raise KeyContended(
            f'key "{key.display}": others changed its record "{name}" {_ATTEMPTS_MAX} times in a row'
        )

    def _remember(self, key: JobKey, record: KeyRecord, revision: int) -> None:
        self._remembered[key.hash] = _Stored(record, revision)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    def _stamped(self, record: KeyRecord) -> KeyRecord:
        policy = self._policy
        return record.stamped(max_active=policy.max_active, max_queued=policy.max_queued, at=timestamp(now()))

    async def _read(self, key: JobKey, name: str, *, leader: bool) -> _Stored:
        found = await self._bucket.get(name, leader=leader, timeout=self._timeout)
        self._are_new = found is None
        if found is None or not _has_value(found):
            return _Stored(self._empty(key), 0 if found is None else found.revision, is_certain=leader)
        try:
            record = KeyRecord.parse(
                found.value, service=self._namespace, queue=self._queue, key_hash=key.hash
            )
        except Malformed as problem:
            raise MalformedKeyRecord(
                key.display, bucket=self._bucket.name, name=name, problem=str(problem)
            ) from None
        return _Stored(record, found.revision, is_certain=leader)

    def _empty(self, key: JobKey) -> KeyRecord:
        return KeyRecord(
            service=self._namespace,
            queue=self._queue,
            display=key.text,
            hash=key.hash,
            max_active=self._policy.max_active,
            max_queued=self._policy.max_queued,
        )

    def _name(self, key: JobKey) -> str:
        return f"{self._namespace}.{self._queue}.{key.hash}"


def _has_value(found: KvRecord) -> bool:
    """Say whether a record was written there; an operator may have deleted it."""
    return found.operation == "PUT"
