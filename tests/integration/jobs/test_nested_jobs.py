"""Handlers that wait for jobs of their own queue: a deadlock is reported."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from trellis_nats import Options
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=30)
AT_ONCE: Final = Options(shutdown_grace=timedelta(0))
PARENT: Final = 0
CHILD: Final = 1


async def test_waiting_for_a_job_of_the_own_queue_at_concurrency_1_is_reported(
    nats_server: NatsServer,
) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url, options=AT_ONCE) as shop:

            @shop.jobs.pack.handle(concurrency=1)
            async def pack(job: ParcelJob) -> Receipt:
                if job.payload.number == PARENT:
                    child = await shop.jobs.pack.create(Parcel(number=CHILD))
                    return await child.result()
                return Receipt(total=CHILD)

            await shop.jobs.start_workers()
            await shop.jobs.pack.create(Parcel(number=PARENT))
            record = await signals.wait_for(LogEvent.HANDLERS_WAIT, queue="pack")

    assert record.levelno == logging.WARNING
    assert "concurrency 1" in record.getMessage()
    assert "another queue" in record.getMessage()
    assert len(signals.of(LogEvent.HANDLERS_WAIT)) == 1


async def test_it_is_reported_when_every_handler_waits(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url, options=AT_ONCE) as shop:

            @shop.jobs.pack.handle(concurrency=3)
            async def pack(job: ParcelJob) -> Receipt:
                children = await shop.jobs.pack.create_many([Parcel(number=PARENT)] * 2)
                results = await asyncio.gather(*(child.wait() for child in children))
                return Receipt(total=len(results))

            await shop.jobs.start_workers()
            await shop.jobs.pack.create(Parcel(number=PARENT))
            await signals.wait_for(LogEvent.HANDLERS_WAIT, queue="pack")


async def test_children_that_can_begin_are_not_reported(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop, Shop.connect(nats_server.url) as other:

            @shop.jobs.pack.handle(concurrency=2)
            async def pack(job: ParcelJob) -> Receipt:
                if job.payload.number == PARENT:
                    same = await shop.jobs.pack.create(Parcel(number=CHILD))
                    elsewhere = await shop.jobs.charge.create(Parcel(number=CHILD))
                    await elsewhere.result(timeout=SOON)
                    return await same.result(timeout=SOON)
                return Receipt(total=CHILD)

            @other.jobs.charge.handle(concurrency=1)
            async def charge(job: ParcelJob) -> Receipt:
                return Receipt(total=CHILD)

            await shop.jobs.start_workers()
            await other.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=PARENT))
            assert await ref.result(timeout=SOON) == Receipt(total=CHILD)

    assert not signals.of(LogEvent.HANDLERS_WAIT)
