"""Releases a slot whose owner is gone: by the runtime's own reducer, under compare-and-set, at the revision that was seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from trellis_nats import TrellisError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats.binding import keys_bucket_of
from trellis_nats.clock import now, parse_timestamp, timestamp
from trellis_nats.errors import PermissionDenied, WriteUnknown, WrongLastSequence
from trellis_nats.ids import new_id
from trellis_nats.jobs.keys.model.admission import evict
from trellis_nats.jobs.keys.model.record import InvalidRecord, KeyRecord, Slot
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.orphans import is_abandoned
from trellis_nats.jobs.keys.reservations import write_stale
from trellis_nats.jobs.model.states import JobState
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.liveness import Answer, Liveness

__all__ = ["KeyProblem", "Released", "release_slot"]

_TIMEOUT: Final = timedelta(seconds=5)
_SKEW: Final = timedelta(seconds=2)
"""How far the clocks of machines may be apart: a lease counts as over so much later."""


class KeyProblem(TrellisError):
    """A key cannot be found or released. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A slot that was released."""

    job_id: str
    """The job that held it."""
    job_state: JobState | None
    """The state of that job now; None if its history is no longer stored."""
    revision: int
    """The new revision of the record."""

    @property
    def is_stale(self) -> bool:
        """Whether the job ended because it lost the slot."""
        return self.job_state is JobState.STALE


async def release_slot(
    connection: Connection,
    prefix: str,
    *,
    namespace: str,
    queue: str,
    key_hash: str,
    token: str,
    revision: int,
) -> Released:
    """Release one slot.

    The owner is gone if its job has ended, if its process answers that it does not hold the slot, or if the lease has run out
    and the process does not answer that it holds it.

    Args:
        connection: to the server.
        prefix: the publish prefix of the queue.
        namespace: of the bucket.
        queue: as the record names it.
        key_hash: of the key.
        token: of the slot.
        revision: of the record, as it was seen.

    Raises:
        KeyProblem: the record has changed, or the owner is not gone.
        TransportError: the server did not answer; the slot may be released.
    """
    bucket, name = KvBucket(connection, keys_bucket_of(namespace)), f"{namespace}.{queue}.{key_hash}"
    stored = await bucket.get(name, leader=True)
    if stored is None or stored.revision != revision:
        raise KeyProblem(f"the record of key {key_hash[:16]} has changed since it was seen: look at it again")
    try:
        record = KeyRecord.parse(stored.value, service=namespace, queue=queue, key_hash=key_hash)
    except InvalidRecord as problem:
        raise KeyProblem(f"the record of key {key_hash[:16]} cannot be read: {problem}") from None
    slot = record.slot(token)
    if slot is None:
        raise KeyProblem(f'key "{record.display}": no slot {token:.40} is held')
    event_log = EventLog(connection, JobSubjects(prefix), digest="", timeout=_TIMEOUT)
    await _require_gone(connection, namespace, event_log, record, slot)
    changed = evict(record, entries=frozenset(), slots=frozenset({token}))._replace(
        updated_at=timestamp(now())
    )
    new_revision = await _write(bucket, name, changed, revision)
    await write_stale(event_log, slot, key=JobKey(record.display, record.hash))
    newest = await event_log.newest(slot.job_id)
    state = None if newest is None else newest.event.effective_state
    return Released(job_id=slot.job_id, job_state=state, revision=new_revision)


async def _require_gone(
    connection: Connection, namespace: str, event_log: EventLog, record: KeyRecord, slot: Slot
) -> None:
    """Check that no process works in a slot.

    Raises:
        KeyProblem: one does, or may.
    """
    newest = await event_log.newest(slot.job_id)
    event = None if newest is None else newest.event
    if is_abandoned(event, Answer.SILENT):
        return
    liveness = Liveness(connection, namespace=namespace, instance_id=new_id(), peers_may_differ=True)
    try:
        answer = await liveness.ask(slot.token, slot.instance_id, event_log.subjects, within=_TIMEOUT)
    except PermissionDenied:
        answer = Answer.SILENT  # then the lease decides alone
    what = f'key "{record.display}" is not released: process {slot.instance_id}'
    if answer is Answer.HELD:
        raise KeyProblem(
            f"{what} answers that it works on job {slot.job_id}; cancel the job instead, "
            "or stop that process if its handler takes no notice of that"
        )
    left = parse_timestamp(slot.expires_at) + _SKEW - now()
    if answer is Answer.SILENT and left > timedelta(0):
        raise KeyProblem(f"{what} does not answer, but its lease lasts {left.total_seconds():.0f} s longer")


async def _write(bucket: KvBucket, name: str, record: KeyRecord, revision: int) -> int:
    data = record.encode()
    try:
        return (await bucket.update(name, data, revision)).sequence
    except WrongLastSequence:
        raise KeyProblem(
            f'the record of key "{record.display}" has changed since it was seen: look at it again'
        ) from None
    except WriteUnknown:
        stored = await bucket.get(name, leader=True)
        if stored is not None and stored.value == data:
            return stored.revision
        raise
