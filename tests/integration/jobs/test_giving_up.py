"""Handlers that lost their job and ignore their cancellation: their attempts end all the same, and free their permits.

What becomes of such a handler when its worker stops is tested in test_outlasting.py.
"""

import asyncio
from datetime import timedelta
from typing import Self

import pytest
from trellis_nats import JobState
from trellis_nats._nats.jetstream.streams import purge_stream
from trellis_nats.jobs.work import invoke
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.ferry import Cargo, CargoJob, Ferry, Stowed
from tests.support.inspection import inspect_queue
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON = timedelta(seconds=20)


@pytest.fixture(autouse=True)
def gives_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoke, "_UNWIND", timedelta(milliseconds=10))


class Stubborn:
    """What a handler awaits that ignores its cancellations, until the end of the `with` block."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.end = asyncio.Event()
        self.ended = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()

    async def run(self) -> None:
        self.began.set()
        while not self.end.is_set():
            try:
                await self.end.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
        self.ended.set()


async def test_an_attempt_whose_history_was_purged_says_so(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        began, purged = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            began.set()
            await purged.wait()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        await shop.jobs.pack.create(Parcel(number=1))
        await began.wait()
        with LogSignals() as signals:
            await purge_stream(shop.jobs.runtime.connection, "JOBS", ">")
            purged.set()
            line = await signals.wait_for(LogEvent.JOB_SUPERSEDED)

    assert "stream JOBS has no event of it any longer" in line.getMessage()
    assert "another worker" not in line.getMessage()


async def test_a_superseded_handler_that_ignores_its_cancellation_is_given_up(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        stubborn, began, overtaken = Stubborn(), asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle(concurrency=1)
        async def pack(job: ParcelJob) -> Receipt:
            if job.payload.number == job.tries == 1:
                began.set()
                await overtaken.wait()
                await job.progress(step="its worker learns that another one runs the job")
                await stubborn.run()
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()
        first = await shop.jobs.pack.create(Parcel(number=1))
        await began.wait()
        second = await shop.jobs.pack.create(Parcel(number=2))
        event_log = inspect_queue(shop.jobs.pack).event_log
        started = await event_log.newest(first.id)
        assert started is not None
        with stubborn, LogSignals() as logs:
            await event_log.append(started.event, after=started.sequence)
            overtaken.set()
            stuck = await logs.wait_for(LogEvent.HANDLER_STUCK, job_id=first.id)

            assert await second.result(timeout=SOON) == Receipt(total=2), "its permit is free"
            assert "did not end within 10 ms of its cancellation" in stuck.getMessage()
            assert stubborn.cancelled.is_set()
            assert logs.of(LogEvent.JOB_SUPERSEDED, job_id=first.id)
            assert not stubborn.ended.is_set()
        await stubborn.ended.wait()

        ended = await first.wait(timeout=SOON)
        assert (ended.state, ended.tries) == (JobState.COMPLETED, 2), (
            "what the first attempt returns does not count"
        )


async def test_a_handler_without_a_slot_that_ignores_its_cancellation_is_given_up(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        stubborn = Stubborn()

        @ferry.jobs.guarded.handle(concurrency=1)
        async def work(job: CargoJob) -> Stowed:
            if job.payload.number == job.tries == 1:
                await stubborn.run()
            return Stowed(number=job.payload.number)

        await ferry.jobs.start_workers()
        first = await ferry.jobs.guarded.create(Cargo(ship="anna", number=1))
        await stubborn.began.wait()
        second = await ferry.jobs.guarded.create(Cargo(ship="berta", number=2))
        with stubborn, LogSignals() as logs:
            assert await first.release_key()
            await logs.wait_for(LogEvent.HANDLER_STUCK, job_id=first.id)

            assert await second.result(timeout=SOON) == Stowed(number=2), "its permit is free"
            assert stubborn.cancelled.is_set()
            ended = await first.wait(timeout=SOON)
            assert (ended.state, ended.tries) == (JobState.COMPLETED, 2)
            assert not stubborn.ended.is_set()
        await stubborn.ended.wait()
