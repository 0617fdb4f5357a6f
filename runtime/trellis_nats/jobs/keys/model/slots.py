"""The slots of a key: taken before a try begins, renewed while it runs, given back after its end. Pure.

A slot is never more than a lease. Whether one has run out is not decided here: the caller says which tokens have.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from trellis_nats.clock import timestamp
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot

__all__ = ["COURTESY", "ORDER", "Acquired", "Blocked", "acquire", "release", "remove", "renew"]

ORDER: Final = timedelta(milliseconds=50)
"""How long a free slot is left to those that wait longer. They may not be at hand, so it is no longer than that."""
COURTESY: Final = timedelta(milliseconds=500)
"""How long a retry that is due goes first. It comes back by the server's timer, within milliseconds if a hand is free."""


class Acquired(NamedTuple):
    """The job has a slot."""

    displaced: tuple[Slot, ...] = ()
    """The slots of other jobs that were taken over: their jobs end as `stale`."""


class Blocked(NamedTuple):
    """There is no slot for the job now; nothing was changed."""

    reason: Literal["active-limit", "own-slot", "retry-first", "others-first", "not-listed"]
    """Every slot is taken; or the job itself has one, of an earlier try; or a retry, or a job that waits longer, goes
    first; or the job does not wait in the record: it was displaced, or its entry evicted."""


def acquire(
    record: KeyRecord,
    slot: Slot,
    policy: KeyPolicy,
    *,
    expired: AbstractSet[str],
    entitled: bool,
    in_order: bool = False,
    at: datetime,
) -> tuple[KeyRecord, Acquired | Blocked]:
    """Take a slot for a try that is about to begin.

    `expired` holds the tokens of slots that may be taken over. A job takes over its own ones under every policy, those
    of others only under `fail-stale`, and no more of them than it needs. `entitled` is a job that need not wait in the
    record: one that was tried before. With `in_order`, the others go when those before them have gone; but not one
    that has a slot already, for nobody else may be able to take that.
    """
    if record.slot(slot.token) is not None:
        return record, Acquired()
    own = [each for each in record.active if each.job_id == slot.job_id]
    if any(each.token not in expired for each in own):
        return record, Blocked("own-slot")
    if not own and not entitled and record.entry(slot.job_id) is None:
        return record, Blocked("not-listed")
    kept = [each for each in record.active if each.job_id != slot.job_id]
    stale: list[Slot] = []
    if expired and policy.stale_policy == "fail-stale":
        too_many = max(0, len(kept) + 1 - policy.max_active)
        stale = [each for each in kept if each.token in expired][:too_many]
        kept = [each for each in kept if each not in stale]
    free = policy.max_active - len(kept)
    if free < 1:
        return record, Blocked("active-limit")
    if free <= _due_before(record, slot.job_id, at):
        return record, Blocked("retry-first")
    if in_order and not entitled and not own and free <= _ready_before(record, slot.job_id, at):
        return record, Blocked("others-first")
    taken = record.holding(
        (*kept, slot), _without(record.queued, slot.job_id), takeovers=record.takeovers + len(stale)
    )
    return taken, Acquired(tuple(stale))


def _without(queued: tuple[QueueEntry, ...], job_id: str) -> tuple[QueueEntry, ...]:
    return (*[entry for entry in queued if entry.job_id != job_id],)


def _due_before(record: KeyRecord, job_id: str, at: datetime) -> int:
    """Count the retries that are due and stand before the job."""
    due = 0
    for entry in record.queued:
        if entry.job_id == job_id:
            break
        due += entry.is_due(at, COURTESY)
    return due


def _ready_before(record: KeyRecord, job_id: str, at: datetime) -> int:
    """Count the jobs that wait longer, without those that wait for their time."""
    ready = 0
    for entry in record.queued:
        if entry.job_id == job_id:
            break
        ready += not entry.is_early(at)
    return ready


def renew(record: KeyRecord, token: str, *, lease: timedelta, at: datetime) -> KeyRecord | None:
    """Lengthen a hold; None when it is lost."""
    slot = record.slot(token)
    if slot is None:
        return None
    longer = slot._replace(renewed_at=timestamp(at), expires_at=timestamp(at + lease))
    return record._replace(active=tuple(longer if each is slot else each for each in record.active))


def release(record: KeyRecord, token: str, *, waiting: QueueEntry | None = None) -> KeyRecord | None:
    """Give a slot back; None when it is not there. A job that will be tried again waits at the head of the queue."""
    slot = record.slot(token)
    if slot is None:
        return None
    queued = _without(record.queued, slot.job_id)
    return record.holding(
        (*[each for each in record.active if each is not slot],),
        queued if waiting is None else (waiting, *queued),
    )


def remove(record: KeyRecord, job_id: str) -> KeyRecord:
    """Take a job out of the record, whether it waits or is active: it has ended, or an operator says so."""
    return record._replace(
        active=tuple(slot for slot in record.active if slot.job_id != job_id),
        queued=tuple(entry for entry in record.queued if entry.job_id != job_id),
    )
