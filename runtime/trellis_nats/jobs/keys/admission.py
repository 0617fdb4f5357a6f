"""Whether a job may join its key: the arithmetic of places, and who leaves when the key is full. Pure.

Every function takes a record and returns another one; the same call on its own result changes nothing more, so that a
write whose answer was lost can simply be done again.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from trellis_nats.jobs.keys.policy import KeyPolicy
from trellis_nats.jobs.keys.record import KeyRecord, QueueEntry

__all__ = ["Admitted", "Displaced", "Full", "Joined", "Verdict", "admit", "evict", "restore", "withdraw"]

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
    record: KeyRecord, entry: QueueEntry, policy: KeyPolicy, *, strict: bool, expired: AbstractSet[str]
) -> tuple[KeyRecord, Verdict]:
    """Give a job a place, or say why not (reference, 10.7).

    With `strict`, nobody is joined or displaced. `expired` holds the tokens of slots whose lease is over; it decides
    nothing but the reason.
    """
    active, queued = len(record.active), len(record.queued)
    if record.entry(entry.job_id) or (active and any(slot.job_id == entry.job_id for slot in record.active)):
        return record, Admitted()
    places = policy.max_queued + max(0, policy.max_active - active)
    if queued < places:
        return record.holding(record.active, (*record.queued, entry)), Admitted()
    if policy.when_full == "replace-oldest" and record.queued and not strict:
        oldest, *others = record.queued
        return record._replace(queued=(*others, entry)), Displaced(oldest)
    existing = _first(record)
    if policy.when_full == "coalesce" and existing is not None and not strict:
        return record, Joined(existing)
    if active < policy.max_active:
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


def _first(record: KeyRecord) -> str | None:
    if record.queued:
        return record.queued[0].job_id
    return record.active[0].job_id if record.active else None


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
