"""Slots of dead owners, and jobs that another process ended, do not block a key (reference, 10.9 to 10.14)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic

from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.jobs.keys.model.slots import PRIORITY_WINDOW
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.ferry import LEASE, Cargo, CargoQueue, Ferry
from tests.support.inspection import inspect_queue
from tests.support.left_behind import (
    ANNA,
    SOON,
    Watch,
    accepted,
    dead_slot,
    entry,
    is_free,
    leave,
    was_delivered,
)
from tests.support.records import bucket_of, holders, name_of, record_of


async def test_a_dead_owners_slot_rejects_submissions_until_its_lease_has_expired(
    nats_server: NatsServer,
) -> None:
    """No worker runs that could take it over: the submitter observes the lease, and its own job has priority for the slot."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue = ferry.jobs.strict
        await leave(ferry, queue, active=[dead_slot(age=timedelta(0))])
        began = monotonic()

        await eventually(lambda: accepted(queue))

        assert (LEASE + PRIORITY_WINDOW).total_seconds() <= monotonic() - began
        assert (await record_of(ferry, queue, ANNA)).active == ()


async def test_a_dead_owners_slot_delays_a_job_until_its_lease_has_expired(
    nats_server: NatsServer,
) -> None:
    """Whatever its owner's clock said. How long a takeover takes at most is tested in test_keys_histories.py."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.load, Watch(ends=True)
        ages = {"anna": timedelta(0), "ahead": timedelta(hours=-1), "behind": timedelta(hours=1)}
        for ship, age in ages.items():
            await leave(ferry, queue, active=[dead_slot(age=age)], cargo=Cargo(ship=ship))
        watch.works(queue)
        await ferry.jobs.start_workers()
        created = monotonic()

        async def took(ship: str) -> float:
            await (await queue.create(Cargo(ship=ship))).result(timeout=SOON)
            return monotonic() - created

        for taken in await asyncio.gather(*map(took, ages)):
            assert LEASE.total_seconds() <= taken
        await eventually(lambda: is_free(ferry, queue))


async def test_a_worker_that_died_between_outcome_and_release_delays_no_job(
    nats_server: NatsServer,
) -> None:
    """The history shows that its handler has ended, so no process waits for the lease to expire."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.strict, Watch(ends=True)
        watch.works(queue)
        await ferry.jobs.start_workers()
        done = await queue.create(ANNA)
        await done.result(timeout=SOON)
        await eventually(lambda: is_free(ferry, queue))
        await leave(ferry, queue, active=[dead_slot(done.id, age=LEASE / 2)])

        assert await accepted(queue)


async def test_under_block_a_slot_of_an_attempt_that_never_began_goes_to_its_job(
    nats_server: NatsServer,
) -> None:
    """No other job may take the slot over, so its own job must not wait behind jobs that wait for the slot."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.guarded, Watch(ends=True)
        first = await queue.create(ANNA)
        record = await record_of(ferry, queue, ANNA)
        slot = dead_slot(first.id, age=timedelta(0))
        await bucket_of(ferry).put(name_of(queue, ANNA), record._replace(active=(slot,), queued=()).encode())
        second = await queue.create(ANNA)
        watch.works(queue)
        await ferry.jobs.start_workers()

        await second.result(timeout=SOON)

        assert [job for job, _ in watch.began] == [first.id, second.id]


async def test_under_block_the_end_of_a_job_frees_the_slot_of_its_dead_worker(
    nats_server: NatsServer,
) -> None:
    """No job may take it over, but its job's message is redelivered after its end is stored."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.guarded, Watch(ends=True)
        first = await queue.create(ANNA)
        await first.cancel()
        await leave(ferry, queue, active=[dead_slot(first.id, age=timedelta(0))])
        second = await queue.create(ANNA)
        watch.works(queue)
        await ferry.jobs.start_workers()

        await second.result(timeout=SOON)

        assert watch.began == [(second.id, 1)]


async def test_the_entry_of_a_job_that_another_runtime_cancelled_is_evicted(nats_server: NatsServer) -> None:
    """The TypeScript runtime cancels without reading the record (reference, 10.8)."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.strict, Watch(ends=True)
        first = await queue.create(ANNA)
        await first.cancel()
        await leave(ferry, queue, queued=[entry(first.id, age=timedelta(0))])
        watch.works(queue)
        await ferry.jobs.start_workers()

        await eventually(lambda: is_free(ferry, queue))

        assert await accepted(queue)


async def test_the_entry_of_a_job_that_another_runtime_has_run_is_evicted(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.strict, Watch(ends=True)
        watch.works(queue)
        await ferry.jobs.start_workers()
        done = await queue.create(ANNA)
        await done.result(timeout=SOON)
        await eventually(lambda: is_free(ferry, queue))
        await leave(ferry, queue, queued=[entry(done.id)])

        assert await accepted(queue)


async def test_a_redelivered_cancelled_job_keeps_its_slot_until_its_handler_has_ended(
    nats_server: NatsServer,
) -> None:
    """The server forgot that it had delivered the message; the second delivery finds that the job has ended."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.load, Watch()
        watch.works(queue)
        await ferry.jobs.start_workers()
        first = await queue.create(ANNA)
        await eventually(lambda: watch.running == {first.id})
        second = await queue.create(ANNA)
        await first.cancel()
        stored = await inspect_queue(queue).event_log.newest_of(first.id, EventType.CREATED)
        assert stored is not None

        await publish_acked(ferry.jobs.runtime.connection, "trellis.work.ferry.load", stored.event.encode())
        await eventually(lambda: was_delivered(ferry, "load", 3))
        await eventually(lambda: is_listed(ferry, queue, first.id, second.id))
        watch.go_on.set()

        await second.result(timeout=SOON)
        assert watch.most == 1
        await eventually(lambda: is_free(ferry, queue))


async def is_listed(ferry: Ferry, queue: CargoQueue, active: str, queued: str) -> bool:
    return await holders(ferry, queue, ANNA) == ([active], [queued])
