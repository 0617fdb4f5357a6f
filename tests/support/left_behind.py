"""The slots and entries that dead processes leave in a record, and handlers that report which jobs run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from trellis_nats import Accepted
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.clock import now, timestamp
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot

from tests.support.ferry import LEASE, Cargo, CargoJob, CargoQueue, Ferry, Stowed
from tests.support.records import bucket_of, holders, key_of, name_of, record_of

__all__ = [
    "ANNA",
    "SOON",
    "Watch",
    "accepted",
    "dead_slot",
    "entry",
    "is_free",
    "known_record",
    "leave",
]

ANNA = Cargo(ship="anna")
SOON = timedelta(seconds=10)
LONG_AGO = timedelta(minutes=1)


class Watch:
    """Handlers that report which jobs run, and end when the test lets them; they ignore a cancellation."""

    def __init__(self, *, ends: bool = False) -> None:
        self.running: set[str] = set()
        self.most = 0
        self.began: list[tuple[str, int]] = []
        self.go_on = asyncio.Event()
        if ends:
            self.go_on.set()

    def works(self, queue: CargoQueue) -> None:
        """Register the handler of a queue."""

        @queue.handle
        async def work(job: CargoJob) -> Stowed:
            self.began.append((job.id, job.tries))
            self.running.add(job.id)
            self.most = max(self.most, len(self.running))
            try:
                await self.go_on.wait()
            finally:
                self.running.discard(job.id)
            return Stowed(number=job.payload.number)


def dead_slot(job_id: str = "01DEAD", *, age: timedelta = LEASE) -> Slot:
    """Return a slot whose owner has been dead for `age`."""
    then = now() - age
    return Slot(
        job_id=job_id,
        token=f"token of {job_id}",
        instance_id="01NOBODY",
        started_at=timestamp(then),
        renewed_at=timestamp(then),
        expires_at=timestamp(then + LEASE),
        tries=1,
        context=None,
    )


def entry(job_id: str = "01GHOST", *, age: timedelta = LONG_AGO) -> QueueEntry:
    """Return the entry of a job that was created `age` ago."""
    return QueueEntry(job_id=job_id, created_at=timestamp(now() - age), request_id="r", context=None)


async def leave(
    ferry: Ferry,
    queue: CargoQueue,
    *,
    active: Sequence[Slot] = (),
    queued: Sequence[QueueEntry] = (),
    cargo: Cargo = ANNA,
) -> None:
    """Put slots and entries into a record, before those that it has."""
    record = await known_record(ferry, queue, cargo)
    changed = record._replace(active=(*active, *record.active), queued=(*queued, *record.queued))
    await bucket_of(ferry).put(name_of(queue, cargo), changed.encode())


async def known_record(ferry: Ferry, queue: CargoQueue, cargo: Cargo = ANNA) -> KeyRecord:
    """Read the record of the key; an empty one if it does not exist."""
    if await bucket_of(ferry).get(name_of(queue, cargo)) is not None:
        return await record_of(ferry, queue, cargo)
    key = key_of(queue, cargo)
    return KeyRecord(
        service="ferry",
        queue=queue.spec.name,
        display=key.display,
        hash=key.hash,
        max_active=1,
        max_queued=0,
        updated_at=timestamp(now()),
    )


async def is_free(ferry: Ferry, queue: CargoQueue) -> bool:
    """Return whether no job of the key is active or waits."""
    return await holders(ferry, queue, ANNA) == ([], [])


async def accepted(queue: CargoQueue) -> bool:
    """Submit a job, and return whether it was accepted."""
    return isinstance(await queue.submit(ANNA), Accepted)


async def was_delivered(ferry: Ferry, queue: str, count: int) -> bool:
    """Return whether `count` messages of a queue were delivered; each delivery counts."""
    info = await get_consumer_info(ferry.jobs.runtime.connection, "JOBS_WORK", f"ferry__{queue}")
    return info is not None and info.delivered == count
