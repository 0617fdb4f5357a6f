"""Workers of keyed queues: one job of each key at a time, in order, and no key delays another one."""

import asyncio
from datetime import timedelta

import pytest
from trellis_nats import JobRetry, JobState
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.support.cargo_watch import Watch
from tests.support.eventually import eventually
from tests.support.ferry import Cargo, CargoJob, Ferry, Stowed
from tests.support.inspection import inspect_queue
from tests.support.records import holders, record_of

ANNA = Cargo(ship="anna")
SOON = timedelta(seconds=20)


@pytest.mark.parametrize(("queue", "at_once"), [("load", 1), ("pair", 2)])
async def test_no_more_jobs_of_a_key_are_active_than_its_contract_allows(
    nats_server: NatsServer, queue: str, at_once: int
) -> None:
    async with Ferry.connect(nats_server.url) as ferry, Ferry.connect(nats_server.url) as second:
        watch = Watch()
        watch.go_on.set()
        for each in (ferry, second):
            watch.works(each.jobs.load if queue == "load" else each.jobs.pair)
            await each.jobs.start_workers()
        chosen = ferry.jobs.load if queue == "load" else ferry.jobs.pair

        refs = await asyncio.gather(
            *(chosen.create(Cargo(ship=ship, number=n)) for n in range(20) for ship in ("anna", "berta"))
        )
        results = [await ref.result(timeout=SOON) for ref in refs]

        assert sorted(result.number for result in results) == sorted([*range(20), *range(20)])
        assert max(watch.most.values()) <= at_once
        assert await holders(ferry, chosen, ANNA) == ([], [])


async def test_jobs_of_a_key_run_in_the_order_of_their_creation(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        watch = Watch()
        watch.go_on.set()
        watch.works(ferry.jobs.load)
        refs = [await ferry.jobs.load.create(Cargo(ship="anna", number=n)) for n in range(15)]

        await ferry.jobs.start_workers()
        for ref in refs:
            await ref.wait(timeout=SOON)

        assert watch.began == list(range(15))


async def test_a_busy_key_delays_no_other_key(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        watch = Watch()
        watch.works(ferry.jobs.load)
        busy = [await ferry.jobs.load.create(Cargo(ship="anna", number=n)) for n in range(20)]
        await ferry.jobs.start_workers()
        await eventually(lambda: watch.running["anna"] == 1)

        other = await ferry.jobs.load.create(Cargo(ship="berta", number=100))
        await eventually(lambda: watch.running["berta"] == 1)
        watch.go_on.set()

        assert await other.result(timeout=SOON) == Stowed(number=100)
        assert [(await ref.result(timeout=SOON)).number for ref in busy] == list(range(20))
        assert watch.most == {"anna": 1, "berta": 1}


async def test_waiting_consumes_no_attempt(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        watch = Watch()
        watch.works(ferry.jobs.load)
        await ferry.jobs.start_workers()
        first = await ferry.jobs.load.create(Cargo(ship="anna", number=1))
        second = await ferry.jobs.load.create(Cargo(ship="anna", number=2))
        await eventually(lambda: watch.running["anna"] == 1)

        waited = asyncio.create_task(second.wait(timeout=SOON))
        renewed = (await record_of(ferry, ferry.jobs.load, ANNA)).active[0].renewed_at
        await eventually(lambda: later_renewal(ferry, renewed), within=timedelta(seconds=3))
        watch.go_on.set()

        assert (await first.wait(timeout=SOON)).tries == 1
        assert (await waited).tries == 1


async def later_renewal(ferry: Ferry, before: str) -> bool:
    """Return whether the slot has been renewed since `before`, in the first attempt."""
    record = await record_of(ferry, ferry.jobs.load, ANNA)
    return bool(record.active) and record.active[0].renewed_at > before and record.active[0].tries == 1


async def test_a_handler_sees_its_key_and_its_lease(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        seen: list[object] = []

        @ferry.jobs.load.handle
        async def load(job: CargoJob) -> Stowed:
            lease = job.lease
            assert lease is not None
            first = lease.expires_at
            await job.heartbeat()
            renewed = job.lease
            assert renewed is not None
            seen.extend([job.key, lease.key, len(lease.token), first > now(), renewed.expires_at >= first])
            return Stowed(number=1)

        await ferry.jobs.start_workers()
        ref = await ferry.jobs.load.create(ANNA)
        await ref.result(timeout=SOON)

        assert seen == ["ferry:anna", "ferry:anna", 26, True, True]
        started = await inspect_queue(ferry.jobs.load).event_log.newest_of(ref.id, "started")
        assert started is not None
        concurrency = started.event.concurrency
        assert isinstance(concurrency, dict)
        assert {"key", "keyHash", "instanceId", "slotToken", "heartbeatAt", "leaseExpiresAt"} <= set(
            concurrency
        )


async def test_a_waiting_retry_holds_no_slot_and_goes_first_when_it_is_due(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        order: list[tuple[int, int]] = []
        blocked, go_on = asyncio.Event(), asyncio.Event()

        @ferry.jobs.load.handle
        async def load(job: CargoJob) -> Stowed:
            order.append((job.payload.number, job.tries))
            if job.payload.number == 1 and job.tries == 1:
                raise JobRetry("not yet", after=timedelta(milliseconds=300))
            if job.payload.number == 2:
                blocked.set()
                await go_on.wait()
            return Stowed(number=job.payload.number)

        refs = [await ferry.jobs.load.create(Cargo(ship="anna", number=n)) for n in (1, 2, 3, 4)]
        await ferry.jobs.start_workers()
        await asyncio.wait_for(blocked.wait(), 10)
        active, queued = await holders(ferry, ferry.jobs.load, ANNA)
        assert active == [refs[1].id]
        assert queued == [refs[0].id, refs[2].id, refs[3].id]
        retry = (await record_of(ferry, ferry.jobs.load, ANNA)).queued[0].retry_at
        assert retry is not None
        await eventually(lambda: is_due(retry))
        go_on.set()
        for ref in refs:
            await ref.result(timeout=SOON)

        assert order == [(1, 1), (2, 1), (1, 2), (3, 1), (4, 1)]


def is_due(retry_at: str) -> bool:
    return now().isoformat() > retry_at.replace("Z", "+00:00")


async def test_a_payload_whose_key_other_runtimes_would_write_differently_fails(
    nats_server: NatsServer,
) -> None:
    """Another runtime created it: this runtime would reject it."""
    async with Ferry.connect(nats_server.url) as ferry:
        watch = Watch()
        watch.works(ferry.jobs.numbered)
        ref = await ferry.jobs.numbered.create(Cargo(ship="anna", number=7))
        stored = await inspect_queue(ferry.jobs.numbered).event_log.newest_of(ref.id, "created")
        assert stored is not None
        body = stored.event.encode().replace(b'"number":7', b'"number":9007199254740992')
        body = body.replace(ref.id.encode(), b"01FOREIGN")
        await publish_acked(
            ferry.jobs.runtime.connection, "trellis.jobs.ferry.numbered.01FOREIGN.created", body
        )
        await ferry.jobs.start_workers()

        foreign = await ferry.jobs.numbered.ref("01FOREIGN").wait(timeout=SOON)

        assert foreign.state is JobState.FAILED
        assert foreign.last_error is not None
        assert "#/number: the concurrency key accepts only integers" in foreign.last_error
        watch.go_on.set()  # otherwise the end of the test waits for the other job
