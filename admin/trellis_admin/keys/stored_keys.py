"""Lists and shows the records of concurrency keys, as the bucket of a service has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import JsonValue
from trellis_nats._nats.jetstream.bulk_reader import BulkReader
from trellis_nats._nats.jetstream.kv import kv_stream, kv_subject
from trellis_nats._nats.wire.message import Message
from trellis_nats.binding import keys_bucket_of
from trellis_nats.clock import now, parse_timestamp
from trellis_nats.errors import ApiError
from trellis_nats.jobs.keys.model.record import InvalidRecord, KeyRecord, QueueEntry, Slot

from trellis_admin.audit_log import Action, Kind, explain_missing
from trellis_admin.keys.releasing import KeyProblem, Released, release_slot
from trellis_admin.queries import QueuePlace, list_queue_places
from trellis_admin.session import Session

__all__ = ["Holder", "KeyActions", "KeyCount", "KeyList", "KeyState", "StoredKey", "Waiting"]

_SCANNED_MAX: Final = 100_000
_NO_STREAM: Final = 10059
_NAME_TOKENS: Final = 3
"""`<namespace>.<queue>.<hash>`; leases and pauses have other names."""


class KeyState(StrEnum):
    """What a key does now. The worst comes first."""

    BLOCKED = "blocked"
    """A slot's lease has run out: its process is gone, and jobs may wait for it."""
    HELD = "held"
    """A job holds a slot."""
    WAITING = "waiting"
    """No job holds it, and jobs wait: for a worker, for their time, or because the queue is paused."""
    FREE = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A job that holds a slot of a key."""

    job_id: str
    worker: str
    """The process."""
    token: str
    """Identifies the slot."""
    since: datetime
    renewed_at: datetime
    expires_at: datetime
    """When the lease ends unless it is renewed, by the clock of the process."""
    attempt: int
    is_expired: bool
    """Whether that time has passed, by the clock of this machine."""

    @property
    def lease(self) -> timedelta:
        """How long a lease lasts without a renewal."""
        return max(self.expires_at - self.renewed_at, timedelta(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job that waits for a key."""

    job_id: str
    since: datetime
    not_before: datetime | None
    """When a retry or a delayed job is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A concurrency key, as its record was when it was read."""

    prefix: str
    """The publish prefix of its queue."""
    namespace: str
    """That of the bucket."""
    queue: str
    key: str
    key_hash: str
    state: KeyState
    holders: tuple[Holder, ...]
    """The oldest first."""
    waiting: tuple[Waiting, ...]
    """The next one first."""
    max_active: int
    max_queued: int
    takeovers: int
    """How many expired slots were taken over."""
    revision: int
    """Of the record: a release is refused if it has changed since."""


@dataclass(frozen=True, slots=True)
class KeyList:
    """Some keys, blocked ones first, then those with the most waiting jobs."""

    keys: tuple[StoredKey, ...]
    total: int
    """How many were found that a job holds or waits for."""
    blocked: int
    """How many of them are blocked."""
    held: int
    is_cut: bool
    """Whether there are more records than were read."""


class KeyCount(NamedTuple):
    """How many keys a queue has that a job holds or waits for."""

    queue: str
    """As `<service>/<queue>`."""
    total: int
    blocked: int
    held: int
    is_cut: bool
    """Whether there are more records than were read."""


@dataclass(slots=True)
class KeyActions:
    """The keys of queues, for an operator."""

    session: Session

    async def list_keys(self, queue: str, *, limit: int = 50) -> KeyList:
        """Return the keys of a queue that a job holds or waits for.

        Args:
            queue: its name, `<service>/<queue>`, or its publish prefix.
            limit: how many keys at most; they are counted up to 100,000 records.

        Raises:
            QueueProblem: there is no such queue, or several.
            CannotRead: the account may not read the bucket.
            TransportError: the server did not answer.
        """
        place = await self.session.find_queue(queue)
        found, is_cut = await self._scan(place, f"{place.namespace}.{place.name}.*")
        busy = [key for key in found if key.state is not KeyState.FREE]
        order = list(KeyState)
        busy.sort(key=lambda key: (order.index(key.state), -len(key.waiting), key.key))
        return KeyList(
            keys=tuple(busy[:limit]),
            total=len(busy),
            blocked=sum(key.state is KeyState.BLOCKED for key in busy),
            held=sum(key.state is KeyState.HELD for key in busy),
            is_cut=is_cut,
        )

    async def count_keys(self) -> tuple[KeyCount, ...]:
        """Return how many keys of each queue a job holds or waits for, the queues with the most blocked ones first.

        Queues without such a key are left out. Raises as `list_keys`.
        """
        places = await self.session.ask(list_queue_places)
        counts = list[KeyCount]()
        for place in places:
            keys = await self.list_keys(place.prefix, limit=0)
            if keys.total:
                name = f"{place.service}/{place.name}"
                counts.append(KeyCount(name, keys.total, keys.blocked, keys.held, keys.is_cut))
        return tuple(sorted(counts, key=lambda count: (-count.blocked, -count.total, count.queue)))

    async def show(self, queue: str, key: str) -> StoredKey:
        """Return a key by its hash, the beginning of its hash, or its text.

        Raises:
            QueueProblem: there is no such queue, or several.
            KeyProblem: there is no such key, or several.
            CannotRead: the account may not read the bucket.
            TransportError: the server did not answer.
        """
        place = await self.session.find_queue(queue)
        found, _ = await self._scan(place, f"{place.namespace}.{place.name}.*")
        exact = [stored for stored in found if key in {stored.key_hash, stored.key}]
        alike = exact or [stored for stored in found if key and stored.key_hash.startswith(key)]
        match alike:
            case [one]:
                return one
            case []:
                raise KeyProblem(
                    f'queue {place.name} has no key "{key:.200}"; `trellis keys list` lists them'
                )
            case _:
                named = ", ".join(f"{stored.key_hash[:16]} ({stored.key:.50})" for stored in alike[:5])
                raise KeyProblem(
                    f'several keys of queue {place.name} match "{key:.200}": name one of {named}'
                )

    async def release(
        self,
        stored: StoredKey,
        *,
        reason: str | None = None,
        job_id: str | None = None,
    ) -> Released:
        """Release a slot of a key whose owner is gone. Its job ends as `stale`, and the next one gets the slot.

        Args:
            stored: the key as it was seen; if its record has changed since, nothing is done.
            reason: why, for the audit log.
            job_id: the job that holds the slot, where the key has several.

        Raises:
            KeyProblem: no job holds the key, several do, its owner still has it, or the record has changed.
            AdminResourceMissing: the account may not store the audit log.
            TransportError: the server did not answer.
        """
        target: dict[str, JsonValue] = {
            "queue": stored.queue,
            "service": stored.namespace,
            "key": stored.key,
            "keyHash": stored.key_hash,
            "job": job_id,
        }
        async with self.session.audit.action(Kind.KEY, Action.RELEASE, target, reason=reason) as audited:
            holder = _choose(stored, job_id)
            released = await release_slot(
                self.session.connection,
                stored.prefix,
                namespace=stored.namespace,
                queue=stored.queue,
                key_hash=stored.key_hash,
                token=holder.token,
                revision=stored.revision,
            )
            state = "is stale" if released.is_stale else f"is {released.job_state}"
            audited.done(f"job {released.job_id} {state}", job=released.job_id, revision=released.revision)
        return released

    async def _scan(self, place: QueuePlace, pattern: str) -> tuple[list[StoredKey], bool]:
        bucket = keys_bucket_of(place.namespace)
        found: list[StoredKey] = []
        read = 0
        with explain_missing("the keys", kv_stream(bucket)):
            try:
                subject = kv_subject(bucket, pattern)
                async with BulkReader(self.session.connection, kv_stream(bucket), [subject]) as reader:
                    while read < _SCANNED_MAX and (page := await reader.read()):
                        read += len(page)
                        parsed = (_parse(place, stored.sequence, stored.message) for stored in page)
                        found += [key for key in parsed if key is not None]
                    return _newest(found), reader.left > 0
            except ApiError as error:
                if error.err_code == _NO_STREAM:
                    return [], False
                raise


def _newest(found: Iterable[StoredKey]) -> list[StoredKey]:
    """Return the newest record of each key: a bucket may keep older ones."""
    return list({key.key_hash: key for key in found}.values())


def _parse(place: QueuePlace, revision: int, message: Message) -> StoredKey | None:
    name = message.subject.rpartition(f"$KV.{keys_bucket_of(place.namespace)}.")[2].split(".")
    if len(name) != _NAME_TOKENS or not message.data:
        return None
    try:
        record = KeyRecord.parse(message.data, service=name[0], queue=name[1], key_hash=name[2])
    except InvalidRecord:
        return None
    return show_record(place, record, revision, now())


def show_record(place: QueuePlace, record: KeyRecord, revision: int, at: datetime) -> StoredKey:
    """Return a key as its record says. Pure."""
    holders = tuple(_holder(slot, at) for slot in record.active)
    state = KeyState.FREE
    if any(holder.is_expired for holder in holders):
        state = KeyState.BLOCKED
    elif holders:
        state = KeyState.HELD
    elif record.queued:
        state = KeyState.WAITING
    return StoredKey(
        prefix=place.prefix,
        namespace=record.service,
        queue=record.queue,
        key=record.display,
        key_hash=record.hash,
        state=state,
        holders=holders,
        waiting=tuple(_waiting(entry) for entry in record.queued),
        max_active=record.max_active,
        max_queued=record.max_queued,
        takeovers=record.takeovers,
        revision=revision,
    )


def _holder(slot: Slot, at: datetime) -> Holder:
    expires_at = parse_timestamp(slot.expires_at)
    return Holder(
        job_id=slot.job_id,
        worker=slot.instance_id,
        token=slot.token,
        since=parse_timestamp(slot.started_at),
        renewed_at=parse_timestamp(slot.renewed_at),
        expires_at=expires_at,
        attempt=slot.tries,
        is_expired=expires_at <= at,
    )


def _waiting(entry: QueueEntry) -> Waiting:
    return Waiting(
        job_id=entry.job_id,
        since=parse_timestamp(entry.created_at),
        not_before=None if entry.retry_at is None else parse_timestamp(entry.retry_at),
    )


def _choose(stored: StoredKey, job_id: str | None) -> Holder:
    """Return the slot that is meant: that of a job, or the only one, or the only one whose lease has run out."""
    holders = [holder for holder in stored.holders if job_id in {None, holder.job_id}]
    expired = [holder for holder in holders if holder.is_expired]
    match expired if len(holders) > 1 else holders:
        case [one]:
            return one
        case []:
            held = ", ".join(holder.job_id for holder in stored.holders) or "no job"
            raise KeyProblem(f'key "{stored.key}" cannot be released: {held} holds it')
        case several:
            named = ", ".join(holder.job_id for holder in several)
            raise KeyProblem(f'key "{stored.key}" has several slots: name the job of one, {named}')
