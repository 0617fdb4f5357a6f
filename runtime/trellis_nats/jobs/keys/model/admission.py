"""Whether a job may join its key: the arithmetic of places, and who leaves when the key is full. Pure.

Every function takes a record and returns another one; the same call on its own result changes nothing more, so that a
write whose answer was lost can simply be done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal

from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry

__all__ = [
    "Admitted",
    "Displaced",
    "Full",
    "Joined",
    "Verdict",
    "admit",
    "evict",
    "fits",
    "restore",
    "withdraw",
]

_GROWTH_BYTES: Final = 256
"""More than an entry grows by when it becomes a slot: about 140 bytes, 200 with the longest ids."""
_RETRY_BYTES: Final = 64
"""More than `retryAt` adds to an entry."""
_EACH_BYTES_MAX: Final = 1536
"""More than an entry or a slot has: about 300 or 430 bytes, and 512 of `tracestate` at most."""

Reason = Literal["active-limit", "queue-depth", "stale-blocked"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """The job has a place in the queue of its key."""


@dataclass(frozen=True, slots=True)
class Displaced:
    """The job has the place of the one that waited longest, which ends as `skipped`."""

    replaced: QueueEntry


@dataclass(frozen=True, slots=True)
class Joined:
    """Nothing was stored: a job that is there already stands for this one."""

    existing: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Full:
    """Nothing was stored: there is no place."""

    reason: Reason
    active: int
    queued: int
    limit: int
    """Of active jobs when the reason is `active-limit` or `stale-blocked`, else of waiting ones."""
    existing: str | None
    """The job that waits next, else the oldest active one."""


Verdict = Admitted | Displaced | Joined | Full


def admit(
    record: KeyRecord,
    entry: QueueEntry,
    policy: KeyPolicy,
    *,
    strict: bool,
    expired: AbstractSet[str],
    limit_bytes: int,
    unjoinable: AbstractSet[str] = frozenset(),
) -> tuple[KeyRecord, Verdict]:
    """Give a job a place, or say why not (reference, 10.7).

    With `strict`, nobody is joined or displaced. `expired` holds the tokens of slots whose lease is over; it decides
    nothing but the reason. A record gets no longer than `limit_bytes` allow, whatever becomes of those in it.
    `unjoinable` are jobs that cannot stand for another one.
    """
    active, queued = len(record.active), len(record.queued)
    if record.entry(entry.job_id) or (active and any(slot.job_id == entry.job_id for slot in record.active)):
        return record, Admitted()
    places = policy.max_queued + max(0, policy.max_active - active)
    if queued < places:
        longer = record.holding(record.active, (*record.queued, entry))
        if fits(longer, policy, limit_bytes):
            return longer, Admitted()
        places = queued
    if policy.when_full == "replace-oldest" and record.queued and not strict:
        oldest, *others = record.queued
        return record._replace(queued=(*others, entry)), Displaced(oldest)
    if policy.when_full == "coalesce" and not strict:
        joined = next((each for each in _in_turn(record) if each not in unjoinable), None)
        if joined is not None:
            return record, Joined(joined)
    existing = next(_in_turn(record), None)
    if active < policy.max_active or queued < policy.max_queued:
        full = Full(reason="queue-depth", active=active, queued=queued, limit=places, existing=existing)
    else:
        stale = policy.stale_policy == "block" and any(slot.token in expired for slot in record.active)
        full = Full(
            reason="stale-blocked" if stale else "active-limit",
            active=active,
            queued=queued,
            limit=policy.max_active,
            existing=existing,
        )
    return record, full


def fits(record: KeyRecord, policy: KeyPolicy, limit_bytes: int) -> bool:
    """Say whether a record stays within the limit when every waiting job has been tried, and every slot is taken.

    A slot is longer than the entry before it: a record that admits up to its limit could let nobody begin.
    """
    active, waiting = len(record.active), len(record.queued)
    reserve_bytes = min(policy.max_active, waiting) * _GROWTH_BYTES + (active + waiting) * _RETRY_BYTES
    if (active + waiting + 1) * _EACH_BYTES_MAX + reserve_bytes < limit_bytes:
        return True  # without writing it: almost every record is short
    return len(record.encode()) + reserve_bytes <= limit_bytes


def _in_turn(record: KeyRecord) -> Iterator[str]:
    yield from (entry.job_id for entry in record.queued)
    yield from (slot.job_id for slot in record.active)


def withdraw(record: KeyRecord, job_id: str) -> KeyRecord:
    """Take a waiting job out of the queue of its key."""
    return record._replace(queued=tuple(entry for entry in record.queued if entry.job_id != job_id))


def restore(record: KeyRecord, replaced: QueueEntry, *, by: str) -> KeyRecord:
    """Undo a displacement: its cause leaves the queue, and the displaced one is the next again."""
    without = withdraw(withdraw(record, by), replaced.job_id)
    if any(slot.job_id == replaced.job_id for slot in record.active):
        return without
    return without._replace(queued=(replaced, *without.queued))


def evict(record: KeyRecord, *, entries: AbstractSet[str], slots: AbstractSet[str]) -> KeyRecord:
    """Take out waiting jobs, by job id, and slots, by token, that hold a place for nobody."""
    return record._replace(
        queued=tuple(entry for entry in record.queued if entry.job_id not in entries),
        active=tuple(slot for slot in record.active if slot.token not in slots),
    )
