"""The slots of a key: acquired before an attempt, renewed during it, released after it. Pure.

A slot is held by a lease. The caller decides which leases have expired, and passes their tokens.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from trellis_nats.clock import timestamp
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot

__all__ = ["FIFO_WINDOW", "PRIORITY_WINDOW", "Acquired", "Blocked", "acquire", "release", "remove", "renew"]

FIFO_WINDOW: Final = timedelta(milliseconds=50)
"""How long a free slot is reserved for the jobs that wait longest. Short, because their messages may not be in a worker."""
PRIORITY_WINDOW: Final = timedelta(milliseconds=500)
"""How long a retry that is due has priority over new jobs, and how long a job has priority over others for its own expired
slot. The server redelivers a retry within milliseconds of its time if a worker has capacity."""


class Acquired(NamedTuple):
    """The job has a slot."""

    displaced: tuple[Slot, ...] = ()
    """The slots of other jobs that were taken over. Those jobs end as `stale`."""


class Blocked(NamedTuple):
    """The job cannot have a slot now; the record is unchanged."""

    reason: Literal["active-limit", "own-slot", "retry-first", "others-first", "not-listed"]
    """`active-limit`: every slot is taken. `own-slot`: the job itself still has one, from an earlier attempt. `retry-first`
    and `others-first`: a retry, or a job that waits longer, goes first. `not-listed`: the job has no entry in the
    record, because it was displaced or its entry was evicted."""


def acquire(
    record: KeyRecord,
    slot: Slot,
    policy: KeyPolicy,
    *,
    expired: AbstractSet[str],
    skips_queue: bool,
    in_order: bool = False,
    at: datetime,
) -> tuple[KeyRecord, Acquired | Blocked]:
    """Acquire a slot for an attempt that is about to begin.

    Args:
        record: the record of the key.
        slot: the slot to store.
        policy: the limits of the key.
        expired: tokens of slots that may be taken over. A job takes over its own slots under every policy, slots of
            other jobs only under `fail-stale`, and no more of them than it needs.
        skips_queue: the job needs no entry in the record, because it was attempted before.
        in_order: a new job waits until the jobs before it have their slots, unless it already has a slot of its own,
            which no other job may be able to take.
        at: the time now, by the wall clock.
    """
    if record.slot(slot.token) is not None:
        return record, Acquired()
    own, kept = list[Slot](), list[Slot]()
    for other in record.active:
        (own if other.job_id == slot.job_id else kept).append(other)
    if own and any(other.token not in expired for other in own):
        return record, Blocked("own-slot")
    if not own and not skips_queue and record.entry(slot.job_id) is None:
        return record, Blocked("not-listed")
    stale: list[Slot] = []
    if expired and policy.stale_policy == "fail-stale":
        too_many = max(0, len(kept) + 1 - policy.max_active)
        stale = [other for other in kept if other.token in expired][:too_many]
        kept = [other for other in kept if other not in stale]
    free = policy.max_active - len(kept)
    if free < 1:
        return record, Blocked("active-limit")
    if free <= _due_before(record, slot.job_id, at):
        return record, Blocked("retry-first")
    if in_order and not skips_queue and not own and free <= _ready_before(record, slot.job_id, at):
        return record, Blocked("others-first")
    taken = record.with_jobs(
        (*kept, slot), _without(record.queued, slot.job_id), takeovers=record.takeovers + len(stale)
    )
    return taken, Acquired(tuple(stale))


def _without(queued: tuple[QueueEntry, ...], job_id: str) -> tuple[QueueEntry, ...]:
    return (*[entry for entry in queued if entry.job_id != job_id],)


def _due_before(record: KeyRecord, job_id: str, at: datetime) -> int:
    """Count the due retries that are ahead of the job in the queue."""
    due = 0
    for entry in record.queued:
        if entry.job_id == job_id:
            break
        due += entry.is_due(at, PRIORITY_WINDOW)
    return due


def _ready_before(record: KeyRecord, job_id: str, at: datetime) -> int:
    """Count the jobs that are ahead of the job in the queue and could start now."""
    ready = 0
    for entry in record.queued:
        if entry.job_id == job_id:
            break
        ready += not entry.is_early(at)
    return ready


def renew(record: KeyRecord, token: str, *, lease: timedelta, at: datetime) -> KeyRecord | None:
    """Extend the lease of a slot. None: the slot is lost."""
    slot = record.slot(token)
    if slot is None:
        return None
    renewed = slot._replace(renewed_at=timestamp(at), expires_at=timestamp(at + lease))
    return record._replace(active=tuple(renewed if other is slot else other for other in record.active))


def release(record: KeyRecord, token: str, *, waiting: QueueEntry | None = None) -> KeyRecord | None:
    """Release a slot. None: it is not in the record. With `waiting`, the job returns to the head of the queue."""
    slot = record.slot(token)
    if slot is None:
        return None
    queued = _without(record.queued, slot.job_id)
    return record.with_jobs(
        (*[other for other in record.active if other is not slot],),
        queued if waiting is None else (waiting, *queued),
    )


def remove(record: KeyRecord, job_id: str) -> KeyRecord:
    """Remove a job from the record, whether it waits or is active."""
    return record._replace(
        active=tuple(slot for slot in record.active if slot.job_id != job_id),
        queued=tuple(entry for entry in record.queued if entry.job_id != job_id),
    )
