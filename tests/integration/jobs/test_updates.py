"""Live updates: typed, in order, lost without a listener."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import ClassVar, Final

import pytest
from trellis_nats import (
    ActiveJob,
    ConfigurationError,
    Contract,
    InvalidPayload,
    JobQueue,
    Jobs,
    JobSpec,
    JobState,
    Runtime,
    Service,
)
from trellis_nats.testing import NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop, WeighJob, Weight

SOON = timedelta(seconds=10)


async def test_updates_arrive_in_order_and_end_with_the_job(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        listening = asyncio.Event()

        @shop.jobs.weigh.handle
        async def weigh(job: WeighJob) -> Receipt:
            await listening.wait()
            for grams in range(5):
                await job.emit_update(Weight(grams=grams))
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.weigh.create(Parcel(number=1))
        updates = ref.updates()
        first = asyncio.ensure_future(anext(updates))
        await shop.jobs.runtime.connection.flush()
        listening.set()

        assert [await first, *[update async for update in updates]] == [Weight(grams=n) for n in range(5)]
        assert (await ref.get()).state is JobState.COMPLETED


class TareQueue(JobQueue[Parcel, None, Weight | None]):
    """An update of null says that the scales are empty."""

    spec: ClassVar[JobSpec] = JobSpec(name="tare", payload=Parcel, update=Weight | None)


class ScaleJobs(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.tare: Final = TareQueue(runtime)


class Scale(Service):
    contract: ClassVar[Contract] = Shop.contract

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = ScaleJobs(runtime)


async def test_an_update_of_null_arrives(nats_server: NatsServer) -> None:
    async with Scale.connect(nats_server.url) as scale:
        listening = asyncio.Event()

        @scale.jobs.tare.handle
        async def tare(job: ActiveJob[Parcel, None, Weight | None]) -> None:
            await listening.wait()
            for update in (Weight(grams=1), None, Weight(grams=2)):
                await job.emit_update(update)

        await scale.jobs.start_workers()
        ref = await scale.jobs.tare.create(Parcel(number=1))
        updates = ref.updates()
        first = asyncio.ensure_future(anext(updates))
        await scale.jobs.runtime.connection.flush()
        listening.set()

        assert [await first, *[update async for update in updates]] == [
            Weight(grams=1),
            None,
            Weight(grams=2),
        ]


async def test_a_new_attempt_restarts_its_updates(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        listening = asyncio.Event()

        @shop.jobs.weigh.handle
        async def weigh(job: WeighJob) -> Receipt:
            await listening.wait()
            await job.emit_update(Weight(grams=job.tries))
            if job.tries == 1:
                raise ConnectionError("the scales are off")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.weigh.create(Parcel(number=1))
        updates = ref.updates()
        first = asyncio.ensure_future(anext(updates))
        await shop.jobs.runtime.connection.flush()
        listening.set()

        assert [await first, *[update async for update in updates]] == [Weight(grams=1), Weight(grams=2)]


async def test_a_handler_that_only_reports_leaves_turns_to_others(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        async def report_until_another_task_ran(report: Callable[[], Awaitable[None]]) -> int:
            others = asyncio.create_task(asyncio.sleep(0))
            calls = 0
            while not others.done() and calls < 1_000:
                await report()
                calls += 1
            return calls

        @shop.jobs.weigh.handle
        async def weigh(job: WeighJob) -> Receipt:
            counts = [
                await report_until_another_task_ran(report)
                for report in (lambda: job.emit_update(Weight(grams=1)), job.heartbeat)
            ]
            return Receipt(total=max(counts))

        await shop.jobs.start_workers()
        ref = await shop.jobs.weigh.create(Parcel(number=1))

        assert (await ref.result(timeout=SOON)).total < 10


async def test_a_queue_without_updates_says_so(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        said: list[str] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            with pytest.raises(ConfigurationError, match="declares no `update`") as caught:
                await job.emit_update(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - the mistake under test
            said.append(str(caught.value))
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.result(timeout=SOON)

        with pytest.raises(ConfigurationError, match='queue "pack"'):
            await anext(ref.updates())
        assert said


async def test_an_update_of_another_schema_is_refused_where_it_is_sent(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.weigh.handle
        async def weigh(job: WeighJob) -> Receipt:
            with pytest.raises(InvalidPayload, match="an update of a job"):
                await job.emit_update({"grams": "many"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - likewise
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.weigh.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=1)
