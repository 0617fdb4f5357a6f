"""Reducers that are broken on purpose: the tests that check the right ones must find these."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Final

from trellis_nats.clock import parse_timestamp
from trellis_nats.jobs.keys.model import admission, slots
from trellis_nats.jobs.keys.model.admission import AdmissionResult
from trellis_nats.jobs.keys.model.lease_observer import LeaseObservations
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot
from trellis_nats.jobs.keys.orphans import Orphans

from tests.support.keyed_world import Rules

__all__ = ["MUTANTS", "RELEASING_BY_JOB", "REMOVING_THE_LIVING", "REVIVING"]


def _acquire_without_counting(
    record: KeyRecord,
    slot: Slot,
    policy: KeyPolicy,
    *,
    expired: AbstractSet[str],
    skips_queue: bool,
    at: datetime,
) -> tuple[KeyRecord, slots.Acquired | slots.Blocked]:
    roomy = replace(policy, max_active=len(record.active) + 1)
    return slots.acquire(record, slot, roomy, expired=expired, skips_queue=skips_queue, at=at)


def _admit_without_active(
    record: KeyRecord,
    entry: QueueEntry,
    policy: KeyPolicy,
    *,
    strict: bool,
    expired: AbstractSet[str],
    limit_bytes: int,
) -> tuple[KeyRecord, AdmissionResult]:
    changed, result = admission.admit(
        record._replace(active=()), entry, policy, strict=strict, expired=expired, limit_bytes=limit_bytes
    )
    return changed._replace(active=record.active), result


def _by_wall_clock(_: LeaseObservations, record: KeyRecord, __: float, wall: datetime) -> AbstractSet[str]:
    return {slot.token for slot in record.active if parse_timestamp(slot.expires_at) <= wall}


def _every_slot_expired(
    _: LeaseObservations, record: KeyRecord, __: float, ___: datetime
) -> AbstractSet[str]:
    return {slot.token for slot in record.active}


def _never_expired(_: LeaseObservations, __: KeyRecord, ___: float, ____: datetime) -> AbstractSet[str]:
    return frozenset()


def _evict_the_living(found: Orphans, record: KeyRecord) -> Orphans:
    return Orphans(found.entries, found.slots | {slot.token for slot in record.active})


def _evict_every_entry(found: Orphans, record: KeyRecord) -> Orphans:
    return Orphans(found.entries | {entry.job_id for entry in record.queued}, found.slots)


def _renew_what_was_lost(record: KeyRecord, token: str, **said: object) -> KeyRecord | None:
    renewed: Callable[..., KeyRecord | None] = slots.renew
    return renewed(record, token, **said) or record._replace(takeovers=record.takeovers + 1)


def _release_by_job(record: KeyRecord, token: str, *, waiting: QueueEntry | None = None) -> KeyRecord | None:
    job = token.partition("/")[0]
    found = next((slot for slot in record.active if slot.job_id == job), None)
    return None if found is None else slots.release(record, found.token, waiting=waiting)


def _remove_the_living(record: KeyRecord, job: str, _: AbstractSet[str]) -> KeyRecord:
    return slots.remove(record, job)


MUTANTS: Final = {
    "acquire does not count active jobs": Rules(acquire=_acquire_without_counting),
    "admission ignores active jobs": Rules(admit=_admit_without_active),
    "leases expire by the wall clock": Rules(expired=_by_wall_clock),
    "a slot is taken over before its lease has expired": Rules(expired=_every_slot_expired),
    "a slot is never taken over": Rules(expired=_never_expired),
    "the slot of a running job is evicted": Rules(select_orphans=_evict_the_living),
    "the entry of a waiting job is evicted": Rules(select_orphans=_evict_every_entry),
}

REMOVING_THE_LIVING: Final = Rules(remove_ended=_remove_the_living)
"""A cancelled job loses its slot while its handler still runs."""
RELEASING_BY_JOB: Final = Rules(release=_release_by_job)
"""A release removes any slot of the job, whatever its token."""
REVIVING: Final = Rules(renew=_renew_what_was_lost)
"""A renewal succeeds for a slot that was taken over."""
