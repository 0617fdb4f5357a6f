"""Handlers that continue when their worker stops: threads, and coroutines that ignore their cancellation."""

import asyncio
import re
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from trellis_nats import JobQueue, JobState
from trellis_nats._support.log_events import LogEvent
from trellis_nats.jobs.work import invoke
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON = timedelta(seconds=20)
AT_ONCE = timedelta(0)
GIVEN_UP = timedelta(seconds=5)
"""Half of the time for which a stop waits for outcomes: a handler that is given up does not take that."""
QUEUES = ["pack", "ship"]
"""Without keys and with keys."""

Queue = JobQueue[Parcel, Receipt]


def queue_of(shop: Shop, name: str) -> Queue:
    return {"pack": shop.jobs.pack, "ship": shop.jobs.ship, "charge": shop.jobs.charge}[name]


class Blocker:
    """A thread handler that runs until it is let go."""

    def __init__(self, queue: Queue) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.runs = 0
        queue.handle(self.work)

    def work(self, job: ParcelJob) -> Receipt:
        self.runs += 1
        self.began.set()
        self.go_on.wait(60)
        return Receipt(total=job.tries)


@asynccontextmanager
async def slow_to_clean(shop: Shop) -> AsyncGenerator[tuple[asyncio.Event, asyncio.Event]]:
    """Run a handler that holds up a stop: yield when it has been cancelled, and what lets it end."""
    cancelled, clean = asyncio.Event(), asyncio.Event()
    began = asyncio.Event()

    @shop.jobs.charge.handle
    async def charge(job: ParcelJob) -> Receipt:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
            await clean.wait()
        return Receipt(total=0)

    await shop.jobs.start_workers()
    await shop.jobs.charge.create(Parcel(number=1))
    await began.wait()
    yield cancelled, clean
    clean.set()


@pytest.mark.parametrize("name", QUEUES)
async def test_the_job_of_a_thread_is_released_when_all_else_has_stopped(
    nats_server: NatsServer, name: str
) -> None:
    async with Shop.connect(nats_server.url) as other, Shop.connect(nats_server.url) as shop:
        blocker, second = Blocker(queue_of(shop, name)), Blocker(queue_of(other, name))
        second.go_on.set()
        with LogSignals() as logs:
            async with slow_to_clean(shop) as (cancelled, clean):
                ref = await queue_of(shop, name).create(Parcel(number=1))
                await asyncio.to_thread(blocker.began.wait)
                await other.jobs.start_workers()
                stopping = asyncio.create_task(shop.stop(grace=AT_ONCE))
                await cancelled.wait()
                stuck = await logs.wait_for(LogEvent.HANDLER_STUCK, job_id=ref.id)

                assert f'thread "job {name} {ref.id}"' in stuck.getMessage()
                assert (await ref.get()).state is JobState.ACTIVE
                assert not second.began.is_set()
                clean.set()
                await stopping

        last = logs.of(LogEvent.WORKERS_STOPPED)[-1].getMessage()
        assert "released 2 jobs" in last
        assert last.endswith(f"still in their handlers: {name} {ref.id}")
        assert await ref.result(timeout=SOON) == Receipt(total=1), "the released attempt does not count"
        assert (blocker.runs, second.runs) == (1, 1)
        blocker.go_on.set()


async def test_what_a_thread_finishes_before_its_job_is_released_counts(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        blocker = Blocker(shop.jobs.pack)
        with LogSignals() as logs:
            async with slow_to_clean(shop) as (cancelled, clean):
                ref = await shop.jobs.pack.create(Parcel(number=1))
                await asyncio.to_thread(blocker.began.wait)
                stopping = asyncio.create_task(shop.stop(grace=AT_ONCE))
                await cancelled.wait()
                await logs.wait_for(LogEvent.HANDLER_STUCK, job_id=ref.id)
                blocker.go_on.set()

                assert await ref.result(timeout=SOON) == Receipt(total=1)
                clean.set()
                await stopping
        last = logs.of(LogEvent.WORKERS_STOPPED)[-1].getMessage()
        assert ref.id not in last
        assert "released 1 job (charge" in last


async def test_a_handler_that_ignores_its_cancellation_keeps_its_job_until_the_end(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invoke, "_UNWIND", timedelta(milliseconds=10))
    async with Shop.connect(nats_server.url) as shop:
        blocker = Blocker(shop.jobs.pack)
        began, end = asyncio.Event(), asyncio.Event()

        @shop.jobs.ship.handle
        async def ship(job: ParcelJob) -> Receipt:
            began.set()
            while not end.is_set():
                with suppress(asyncio.CancelledError):
                    await end.wait()
            return Receipt(total=1)

        host = await shop.jobs.start_workers()
        held, ref = (
            await shop.jobs.pack.create(Parcel(number=1)),
            await shop.jobs.ship.create(Parcel(number=1)),
        )
        await asyncio.to_thread(blocker.began.wait)
        await began.wait()
        with LogSignals() as logs:
            stopping = asyncio.create_task(host.stop(grace=AT_ONCE))
            stuck = await logs.wait_for(LogEvent.HANDLER_STUCK, job_id=ref.id, timeout=GIVEN_UP)
            await stopping

        assert f'task "job ship {ref.id}"' in stuck.getMessage()
        released = {
            name.split()[1] for name in re.findall(r"(?:pack|ship) \w+", logs.records[-1].getMessage())
        }
        assert released == {held.id, ref.id}
        assert logs.records[-1].message.startswith("the workers stopped")
        for each in (held, ref):
            assert ((await each.get()).state, (await each.get()).tries) == (JobState.RETRY, 0)
        blocker.go_on.set()
        end.set()


async def test_what_a_cancelled_handler_returns_counts(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        began = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            began.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            return Receipt(total=7)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await began.wait()
        with LogSignals() as logs:
            await host.stop(grace=AT_ONCE)

        assert await ref.result(timeout=SOON) == Receipt(total=7)
        assert (
            logs.of(LogEvent.WORKERS_STOPPED)[-1].getMessage() == "the workers stopped: no job was released"
        )


async def test_a_stop_logs_for_what_it_waits(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        began, end = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            began.set()
            await end.wait()
            return Receipt(total=7)

        host = await shop.jobs.start_workers()
        await shop.jobs.pack.create(Parcel(number=1))
        await began.wait()
        with LogSignals() as logs:
            stopping = asyncio.create_task(host.stop(grace=SOON))
            waits = await logs.wait_for(LogEvent.WORKERS_STOPPING)
            end.set()
            await stopping

        assert waits.getMessage() == (
            "the workers stop, and wait up to 20 s for 1 running job; in run(), a second signal ends the wait"
        )


async def test_a_second_stop_waits_for_the_first(nats_server: NatsServer) -> None:
    """It must not end the heartbeats of handlers that have time left."""
    async with Shop.connect(nats_server.url) as shop:
        began, end = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            began.set()
            await end.wait()
            return Receipt(total=7)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await began.wait()
        stops = [asyncio.create_task(stop()) for stop in (host.stop, shop.stop, host.stop, shop.stop)]
        await asyncio.wait(stops, timeout=0.1)
        assert not any(stop.done() for stop in stops)
        end.set()
        await asyncio.gather(*stops)

        assert await ref.result(timeout=SOON) == Receipt(total=7)
