"""Decides whether a new job gets an entry in its key, and which job it displaces when the key is full. Pure.

Every function takes a record and returns a changed one. Applying it again to its own result changes nothing, so a write
whose answer was lost can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal

from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry

__all__ = [
    "AdmissionResult",
    "Admitted",
    "Displaced",
    "Full",
    "Joined",
    "admit",
    "evict",
    "fits",
    "restore",
    "withdraw",
]

_GROWTH_BYTES: Final = 256
"""An upper bound on how much an entry grows when it becomes a slot: about 140 bytes, 200 with the longest ids."""
_RETRY_BYTES: Final = 64
"""An upper bound on what `retryAt` adds to an entry."""
_ITEM_BYTES_MAX: Final = 1536
"""An upper bound on an entry or a slot: about 300 or 430 bytes, plus at most 512 of `tracestate`."""

Reason = Literal["active-limit", "queue-depth", "stale-blocked"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """The job has an entry in the queue of its key."""


@dataclass(frozen=True, slots=True)
class Displaced:
    """The job replaced the job that had waited longest, which ends as `skipped`."""

    replaced: QueueEntry


@dataclass(frozen=True, slots=True)
class Joined:
    """Nothing was stored: an existing job stands in for the new one."""

    existing: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Full:
    """Nothing was stored: the key has no room."""

    reason: Reason
    active: int
    queued: int
    limit: int
    """The limit on active jobs if the reason is `active-limit` or `stale-blocked`, otherwise on waiting jobs."""
    existing: str | None
    """The first waiting job, otherwise the oldest active one."""
    room: str
    """How many jobs the key has room for, in words. It is the same whether a job is active or waits, unlike the reason."""


AdmissionResult = Admitted | Displaced | Joined | Full


def admit(
    record: KeyRecord,
    entry: QueueEntry,
    policy: KeyPolicy,
    *,
    strict: bool,
    expired: AbstractSet[str],
    limit_bytes: int,
    unjoinable: AbstractSet[str] = frozenset(),
) -> tuple[KeyRecord, AdmissionResult]:
    """Give a new job an entry in its key, or return why not (reference, 10.7).

    Args:
        record: the record of the key.
        entry: the entry of the new job.
        policy: the limits of the key, and what happens when it is full.
        strict: the job never joins or displaces another one.
        expired: tokens of slots whose lease has expired; they only decide the reason of a refusal.
        limit_bytes: how long a record may get, whatever happens to the jobs in it.
        unjoinable: jobs that must not stand in for another one.
    """
    active, queued = len(record.active), len(record.queued)
    if record.entry(entry.job_id) or (active and any(slot.job_id == entry.job_id for slot in record.active)):
        return record, Admitted()
    free = max(0, policy.max_active - active)
    places = policy.max_queued + free
    if queued < places:
        longer = record.with_jobs(record.active, (*record.queued, entry))
        if fits(longer, policy, limit_bytes):
            return longer, Admitted()
        places, room = queued, "more do not fit into the record of the key"
    else:
        most = policy.max_queued + policy.max_active
        room = f"room for {most} (maxActive {policy.max_active} + maxQueuedPerKey {policy.max_queued})"
    if policy.when_full == "replace-oldest" and record.queued and not strict:
        oldest, *others = record.queued
        return record._replace(queued=(*others, entry)), Displaced(oldest)
    if policy.when_full == "coalesce" and not strict:
        joined = next((job_id for job_id in _ordered_ids(record) if job_id not in unjoinable), None)
        if joined is not None:
            return record, Joined(joined)
    reason: Reason = "active-limit"
    limit = policy.max_active
    if active < policy.max_active or queued < policy.max_queued:
        reason, limit = "queue-depth", places
    elif policy.stale_policy == "block" and any(slot.token in expired for slot in record.active):
        reason = "stale-blocked"
    existing = next(_ordered_ids(record), None)
    return record, Full(
        reason=reason, active=active, queued=queued, limit=limit, existing=existing, room=room
    )


def fits(record: KeyRecord, policy: KeyPolicy, limit_bytes: int) -> bool:
    """Return whether a record stays within the limit even when every slot is taken and every waiting job is a retry.

    A slot is longer than the entry that it replaces: without this reserve, a full record could not start any job.
    """
    active, waiting = len(record.active), len(record.queued)
    reserve_bytes = min(policy.max_active, waiting) * _GROWTH_BYTES + (active + waiting) * _RETRY_BYTES
    if (active + waiting + 1) * _ITEM_BYTES_MAX + reserve_bytes < limit_bytes:
        return True  # almost every record is short: no need to encode it
    return len(record.encode()) + reserve_bytes <= limit_bytes


def _ordered_ids(record: KeyRecord) -> Iterator[str]:
    yield from (entry.job_id for entry in record.queued)
    yield from (slot.job_id for slot in record.active)


def withdraw(record: KeyRecord, job_id: str) -> KeyRecord:
    """Remove a waiting job from the queue of its key."""
    return record._replace(queued=tuple(entry for entry in record.queued if entry.job_id != job_id))


def restore(record: KeyRecord, replaced: QueueEntry, *, by: str) -> KeyRecord:
    """Undo a displacement: the new job leaves the queue, and the displaced job is the first again."""
    without = withdraw(withdraw(record, by), replaced.job_id)
    if any(slot.job_id == replaced.job_id for slot in record.active):
        return without
    return without._replace(queued=(replaced, *without.queued))


def evict(record: KeyRecord, *, entries: AbstractSet[str], slots: AbstractSet[str]) -> KeyRecord:
    """Remove orphans from the record: waiting jobs by job id, and slots by token."""
    return record._replace(
        queued=tuple(entry for entry in record.queued if entry.job_id not in entries),
        active=tuple(slot for slot in record.active if slot.token not in slots),
    )
