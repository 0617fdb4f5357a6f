"""Handlers of every kind, and the options they are registered with."""

import asyncio
import threading
from datetime import timedelta

import pytest
from trellis_nats import ConfigurationError, JobFailed, JobRetry, JobState
from trellis_nats.testing import NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON = timedelta(seconds=10)


async def test_a_plain_def_runs_in_a_thread_and_reports_from_there(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        threads: list[bool] = []

        @shop.jobs.pack.handle
        def pack(job: ParcelJob) -> Receipt:
            threads.append(threading.current_thread() is threading.main_thread())
            job.blocking.progress(step="packing", current=1)
            job.blocking.log("from a thread")
            child = job.blocking.run(shop.jobs.sort.create(Parcel(number=1)))
            return Receipt(total=len(child.id))

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=26)
        assert threads == [False]
        progress = (await ref.get()).progress
        assert progress is not None
        assert progress.step == "packing"


async def test_what_a_plain_def_raises_is_an_outcome(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        def pack(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise SystemExit(3)
            if job.tries == 2:
                raise StopIteration
            raise JobFailed("enough")

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        with pytest.raises(JobFailed, match="enough"):
            await ref.result(timeout=SOON)
        assert [event.error async for event in ref.events() if event.event == "retry"] == [
            "RuntimeError: SystemExit: 3",
            "RuntimeError: StopIteration: ",
        ]


async def test_plain_defs_run_side_by_side_up_to_the_concurrency(nats_server: NatsServer) -> None:
    """asyncio's own pool of threads would let only six run on two cores."""
    async with Shop.connect(nats_server.url) as shop:
        together = threading.Barrier(12, timeout=10)

        @shop.jobs.pack.handle(concurrency=12)
        def pack(job: ParcelJob) -> Receipt:
            together.wait()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(12)])
        ended = [await ref.wait(timeout=SOON) for ref in refs]

    assert {snapshot.state for snapshot in ended} == {JobState.COMPLETED}


async def test_a_handler_that_takes_too_long_is_cancelled_and_tried_again(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        cleaned: list[int] = []

        @shop.jobs.pack.handle(timeout=timedelta(milliseconds=50))
        async def pack(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                try:
                    await asyncio.sleep(60)
                finally:
                    cleaned.append(job.tries)
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=2)
        assert cleaned == [1]
        assert [event.error async for event in ref.events() if event.event == "retry"] == [
            "TimeoutError: the handler ran longer than its timeout of 50 ms"
        ]


async def test_a_handler_that_cancels_itself_does_not_take_the_worker_along(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise asyncio.CancelledError
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=2)
        assert [event.error async for event in ref.events() if event.event == "retry"] == [
            "the handler cancelled itself"
        ]


async def test_what_cannot_be_meant_is_refused_at_once(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        with pytest.raises(ConfigurationError, match="at least 1, got 0"):
            shop.jobs.pack.handle(concurrency=0)(pack)
        with pytest.raises(ConfigurationError, match="must be positive"):
            shop.jobs.pack.handle(timeout=timedelta(0))(pack)
        with pytest.raises(ConfigurationError, match="needs an `async def`"):
            shop.jobs.pack.handle(timeout=timedelta(seconds=1))(pack)
        with pytest.raises(ConfigurationError, match="cannot be called"):
            shop.jobs.pack.handle(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType] - the mistake under test


async def test_a_wrapper_around_an_async_handler_is_awaited(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        async def pack(job: ParcelJob) -> Receipt:
            await asyncio.sleep(0)
            return Receipt(total=job.payload.number)

        shop.jobs.pack.handle(lambda job: pack(job))  # noqa: PLW0108 - the wrapper is what is tested
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=7))

        assert (await ref.result(timeout=SOON)).total == 7


class Busy(JobRetry):
    """Does not call the constructor of its base."""

    def __init__(self) -> None:
        pass


class Unreadable(Exception):
    """Fails in all that is asked of it."""

    def __getattribute__(self, name: str) -> object:
        raise ValueError(name)


@pytest.mark.parametrize("error", [Busy, Unreadable])
async def test_an_error_class_with_mistakes_is_an_outcome_at_once(
    nats_server: NatsServer, error: type[Exception]
) -> None:
    """Without one, the job would wait for its ack wait, and be called one whose worker died."""
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise error
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=2)
        assert [event.event async for event in ref.events() if event.event == "retry"] == ["retry"]
