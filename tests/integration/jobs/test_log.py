"""What an operator reads in the log of a worker about jobs that did not simply complete."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import JobFailed
from trellis_nats.testing import NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=10)
SETTLING: Final = "trellis_nats.jobs.work.finish"


@pytest.fixture(autouse=True)
def all_lines(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger=SETTLING):
        yield


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    lines = [record for record in caplog.records if record.name == SETTLING]
    return [(line.levelname, re.sub(r"job \w{26}", "job ID", line.getMessage())) for line in lines]


async def test_each_try_that_raised_and_the_last_one_of_a_dead_job(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            raise RuntimeError("no tape")

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.wait(timeout=SOON)

    assert told(caplog) == [
        ("INFO", "job ID of queue pack is tried again in 0:00:00.050000, after try 1 of 3"),
        ("INFO", "job ID of queue pack is tried again in 0:00:00.050000, after try 2 of 3"),
        ("WARNING", "job ID of queue pack is dead: RuntimeError: no tape"),
    ]


async def test_a_job_that_failed(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            raise JobFailed("no such address")

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.wait(timeout=SOON)

    assert told(caplog) == [("WARNING", "job ID of queue pack is failed: no such address")]


async def test_a_job_that_was_cancelled_while_it_ran(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await job.cancelled.wait()
            return Receipt(total=1)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        await ref.cancel()
        await host.stop(grace=SOON)

    assert told(caplog) == [("INFO", "job ID of queue pack was cancelled while it ran")]


async def test_a_job_that_a_stopping_worker_released(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await asyncio.Event().wait()
            return Receipt(total=1)

        host = await shop.jobs.start_workers()
        await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        await host.stop(grace=timedelta(0))

    assert told(caplog) == [("INFO", "job ID of queue pack is released: this worker stops")]


async def test_a_job_that_completed_needs_no_line(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.result(timeout=SOON)

    assert told(caplog) == []
