"""Calls that are cancelled at any moment at which they wait, or meet each other, leave nothing behind."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine

import pytest
from trellis_nats import ConfigurationError, JobState
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.testing import NatsServer

from tests.support.cancelled_awaits import cancel_everywhere
from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop


def heartbeats() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.endswith("heartbeat")]


async def start_workers(shop: Shop) -> None:
    await shop.jobs.start_workers()


async def create_and_await(shop: Shop) -> None:
    await (await shop.jobs.pack.create(Parcel(number=1))).result()


async def create_and_cancel(shop: Shop) -> None:
    await (await shop.jobs.sort.create(Parcel(number=1))).cancel()


async def create_with_one_key(shop: Shop) -> None:
    await shop.jobs.pack.create(Parcel(number=1), idempotency_key="one")


async def create_many(shop: Shop) -> None:
    await shop.jobs.sort.create_many([Parcel(number=number) for number in range(1001)])


async def follow(shop: Shop) -> None:
    async for _ in (await shop.jobs.pack.create(Parcel(number=1))).events():
        pass


@pytest.mark.parametrize(
    "call", [create_and_await, create_and_cancel, create_with_one_key, create_many, follow]
)
async def test_no_cancellation_of_a_call_is_lost(
    nats_server: NatsServer, call: Callable[[Shop], Awaitable[None]]
) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await asyncio.sleep(0.005)
            return Receipt(total=1)

        await shop.jobs.start_workers()

        assert await cancel_everywhere(lambda: call(shop), when_done=False) == []
        assert await cancel_everywhere(lambda: call(shop), when_done=True) == []
        await create_and_await(shop)


async def test_a_reader_of_updates_that_is_cancelled_leaves_no_task(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.weigh.create(Parcel(number=1))
        before = asyncio.all_tasks()
        reading = asyncio.create_task(anext(ref.updates()))
        await eventually(lambda: len(asyncio.all_tasks() - before) == 3)

        reading.cancel()
        await eventually(lambda: asyncio.all_tasks() <= before)


@pytest.mark.parametrize("start", [Shop.start, start_workers], ids=["all", "workers"])
@pytest.mark.parametrize("has_begun", [lambda: True, heartbeats], ids=["looking up", "starting"])
async def test_a_stop_during_the_start_leaves_nothing_running(
    nats_server: NatsServer,
    has_begun: Callable[[], object],
    start: Callable[[Shop], Coroutine[object, object, None]],
) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        async def has_no_worker() -> bool:
            info = await get_consumer_info(shop.jobs.runtime.connection, "JOBS_WORK", "shop__pack")
            return info is not None and info.waiting == 0

        starting = asyncio.create_task(start(shop))
        await asyncio.sleep(0)
        await eventually(has_begun)
        await shop.stop()
        await starting
        await eventually(has_no_worker)

        starts = await asyncio.gather(shop.start(), shop.start(), return_exceptions=True)
        assert [type(error) for error in starts if error is not None] == [ConfigurationError]


@pytest.mark.parametrize("is_stopping", [False, True], ids=["working", "stopping"])
async def test_a_service_that_is_cancelled_at_each_wait_gives_its_jobs_back(
    nats_server: NatsServer, is_stopping: bool
) -> None:
    """As by anyio, whose scopes cancel at each wait; the grace period is of 30 s."""
    began, stopping = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                began.set()
                await asyncio.sleep(3600)
                return Receipt(total=1)

            await shop.start()
            await began.wait()
            stopping.set()
            await (shop.stop() if is_stopping else asyncio.sleep(3600))

    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        serving = asyncio.create_task(serve())
        await stopping.wait()
        async with asyncio.timeout(10):
            while not serving.done():
                serving.cancel()
                await asyncio.sleep(0)

        snapshot = await ref.get()
        assert (snapshot.state, snapshot.tries) == (JobState.RETRY, 0)
        assert heartbeats() == []
