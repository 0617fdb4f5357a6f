"""What survives: workers that die, servers that restart, deploys, handlers that block."""

import asyncio
import time
from datetime import timedelta

import pytest
from trellis_nats import JobState, Options
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.testing import NatsServer

from tests.support.inspection import inspect_queue
from tests.support.shop import ACK_WAIT, Parcel, ParcelJob, Receipt, Shop, up_to
from tests.support.shop_process import shop_process

SOON = timedelta(seconds=15)
LONG = 60
"""Seconds that a handler takes which must not end before the test does."""


async def test_a_job_whose_worker_is_killed_is_finished_by_another(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        async with shop_process(nats_server.url) as first:
            ref = await shop.jobs.pack.create(Parcel(number=LONG))
            assert await first.wait_for("began") == [ref.id, "1"]
            first.process.kill()
            killed = time.monotonic()
        began: list[float] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            began.append(time.monotonic())
            assert job.is_redelivery
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()

        assert await ref.result(timeout=SOON) == Receipt(total=2), "the try that died counts"
        assert began[0] - killed < 2 * ACK_WAIT.total_seconds()


async def deliveries(shop: Shop) -> object:
    """How often the server gave out a message of the queue: heartbeats are what keeps it from doing so again."""
    info = await get_consumer_info(shop.jobs.runtime.connection, "JOBS_WORK", "shop__pack")
    assert info is not None
    return info.delivered


async def test_a_long_job_runs_once(nats_server: NatsServer) -> None:
    """A second worker stands by, ready to take what the first one would lose."""
    async with Shop.connect(nats_server.url) as shop, shop.jobs.follow() as events:
        running = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await asyncio.sleep(2.7 * ACK_WAIT.total_seconds())
            return Receipt(total=100)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=0))
        await running.wait()
        async with shop_process(nats_server.url):
            assert await ref.result(timeout=SOON) == Receipt(total=100)

        assert await deliveries(shop) == 1
        assert [event.event async for event in up_to("completed", events)] == [
            "created",
            "started",
            "completed",
        ]


async def test_a_handler_that_blocks_the_event_loop_runs_once(nats_server: NatsServer) -> None:
    """Heartbeats come from a thread of their own; another worker stands by to take what is given up."""
    async with (
        Shop.connect(nats_server.url) as shop,
        shop_process(nats_server.url) as blocked,
        shop.jobs.follow() as events,
    ):
        ref = await shop.jobs.pack.create(Parcel(number=-3 * round(ACK_WAIT.total_seconds())))
        assert await blocked.wait_for("began") == [ref.id, "1"]

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=100 + job.tries)

        await shop.jobs.start_workers()

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert await deliveries(shop) == 1
        assert [event.event async for event in up_to("completed", events)] == [
            "created",
            "started",
            "completed",
        ]


async def test_work_goes_on_after_the_server_is_killed_and_back(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()
        assert await (await shop.jobs.pack.create(Parcel(number=1))).result(timeout=SOON) == Receipt(total=1)

        nats_server.kill()
        nats_server.restart()
        ref = await shop.jobs.pack.create(Parcel(number=2))

        assert await ref.result(timeout=SOON) == Receipt(total=2)


async def test_a_handler_that_runs_through_an_outage_runs_once(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()
        runs: list[int] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.tries)
            running.set()
            await go_on.wait()
            await job.progress(step="not received")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        waiting = asyncio.create_task(ref.result(timeout=SOON))
        nats_server.kill()
        go_on.set()
        nats_server.restart()

        assert await waiting == Receipt(total=1)
        assert runs == [1]


async def test_a_stopping_worker_lets_its_handler_end(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await go_on.wait()
            return Receipt(total=1)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        stopping = asyncio.create_task(host.stop())
        later = await shop.jobs.pack.create(Parcel(number=2))
        go_on.set()
        await stopping

        assert (await ref.get()).state is JobState.COMPLETED
        assert (await later.get()).state is JobState.PENDING


async def test_a_deploy_uses_up_no_attempt(nats_server: NatsServer) -> None:
    """A handler that does not end within the grace is cancelled, and its job released under the same number."""
    async with Shop.connect(nats_server.url) as shop:
        running = asyncio.Event()
        cleaned = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            try:
                await asyncio.sleep(LONG)
            finally:
                cleaned.set()
            return Receipt(total=0)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        await host.stop(grace=timedelta(milliseconds=20))
        released = await ref.get()

    assert cleaned.is_set()
    assert (released.state, released.tries) == (JobState.RETRY, 0)
    assert released.last_error == "released by a stopping worker"

    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack_again(job: ParcelJob) -> Receipt:
            assert job.is_redelivery
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()

        assert await shop.jobs.pack.ref(ref.id).result(timeout=SOON) == Receipt(total=1)


async def test_sigterm_releases_and_ends_the_process(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        async with shop_process(nats_server.url) as worker:
            ref = await shop.jobs.pack.create(Parcel(number=LONG))
            await worker.wait_for("began")
            worker.process.terminate()
            assert await asyncio.wait_for(worker.process.wait(), 10) == 0

        assert (await ref.get()).state is JobState.RETRY
        assert (await ref.get()).tries == 0


async def test_leaving_the_block_stops_the_workers(nats_server: NatsServer) -> None:
    options = Options(shutdown_grace=timedelta(milliseconds=10))
    async with Shop.connect(nats_server.url, options=options) as shop:
        running = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await asyncio.sleep(LONG)
            return Receipt(total=0)

        await shop.start()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()

    async with Shop.connect(nats_server.url) as shop:
        assert (await shop.jobs.pack.ref(ref.id).get()).state is JobState.RETRY


@pytest.mark.parametrize("writers", [2, 8])
async def test_racing_cancellations_and_completions_have_one_winner(
    nats_server: NatsServer, writers: int
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await go_on.wait()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        async with shop.jobs.follow() as events:
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await running.wait()
            go_on.set()
            await asyncio.gather(*(ref.cancel(f"writer {n}") for n in range(writers)))
            after = await shop.jobs.sort.create(Parcel(number=0))
            seen: list[str] = []
            async for event in events:
                if event.job_id == after.id:
                    break
                seen.append(event.event)

        endings = [event for event in seen if event in {"completed", "cancelled"}]
        assert len(endings) == 1
        assert (await ref.wait(timeout=SOON)).state == endings[0]


@pytest.mark.parametrize("number", [2, -2])
async def test_a_job_redelivered_while_its_worker_lives_runs_once(
    nats_server: NatsServer, number: int
) -> None:
    """As after a server that forgot a delivery, or a recreated work stream; the event loop may be blocked."""
    async with Shop.connect(nats_server.url) as shop, shop_process(nats_server.url) as holder:
        ref = await shop.jobs.pack.create(Parcel(number=number))
        created = await inspect_queue(shop.jobs.pack).event_log.newest_of(ref.id, "created")
        await holder.wait_for("began")
        runs: list[str] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.id)
            return Receipt(total=100)

        await shop.jobs.start_workers()
        assert created is not None
        await publish_acked(shop.jobs.runtime.connection, "trellis.work.shop.pack", created.event.encode())

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert runs == []
