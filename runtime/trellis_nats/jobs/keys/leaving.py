"""Takes a job that has ended out of the record of its key, once nobody can work in its slot any more."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic
from typing import Final

from trellis_nats.clock import now
from trellis_nats.jobs.capacity import Permit
from trellis_nats.jobs.keys.key_store import KeyStore
from trellis_nats.jobs.keys.model.admission import evict
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, observe
from trellis_nats.jobs.keys.model.record import KeyRecord
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.orphans import OrphanFinder

__all__ = ["leave"]

_POLL: Final = timedelta(seconds=1)
"""How often it is looked whether the owner has given the slot back."""


async def leave(
    store: KeyStore,
    orphan_finder: OrphanFinder,
    key: JobKey,
    job_id: str,
    *,
    permit: Permit,
    stopping: asyncio.Event,
) -> bool:
    """Take a job out of its key's record. Return False when the worker stops before that is done.

    A job may have ended while its handler runs: it was cancelled, or its worker is cut off and somebody else wrote the
    end. So its slot stays until its owner gives it back, says that it does not have it, or lets its lease run out. The
    hand is laid down meanwhile.

    Raises:
        TransportError: NATS did not answer.
    """
    abandoned = frozenset[str]()
    observations = NO_OBSERVATIONS

    def over(found: KeyRecord) -> frozenset[str]:
        own = frozenset(slot.token for slot in found.active if slot.job_id == job_id)
        return own & (abandoned | observations.expired(found, at=monotonic()))

    def without(found: KeyRecord) -> tuple[KeyRecord, KeyRecord]:
        changed = evict(found, entries={job_id}, slots=over(found))
        return changed, changed

    while True:
        record = await store.change(key, without)
        if not any(slot.job_id == job_id for slot in record.active):
            return True
        observations = observe(observations, record, at=monotonic())
        abandoned = (await orphan_finder.orphans(record, at=now(), observations=observations)).slots
        if over(record):
            continue
        permit.release()
        end = observations.next_end(record, at=monotonic())
        wait = _POLL if end is None else min(end, _POLL)
        try:
            async with asyncio.timeout(wait.total_seconds()):
                await stopping.wait()
        except TimeoutError:
            continue
        return False
