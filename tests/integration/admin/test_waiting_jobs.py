"""`trellis jobs show` of a job that is due and not begun names what holds it back, and what to do."""

from __future__ import annotations

import asyncio

from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.trellis_command import run_trellis_here


async def test_a_job_that_waits_says_why(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        async def show(job_id: str) -> str:
            return (await run_trellis_here("jobs", "show", job_id, "--server", nats_server.url)).out

        waits = (await shop.jobs.pack.create(Parcel(number=1))).id
        assert "it waits: no worker of its queue is alive\nnext: start one" in await show(waits)

        begun, may_end = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle(concurrency=1)
        async def pack(_job: ParcelJob) -> Receipt:
            begun.set()
            await may_end.wait()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        await begun.wait()
        next_one = (await shop.jobs.pack.create(Parcel(number=2))).id

        async def is_explained() -> bool:
            text = "it waits: every slot of its queue is taken\nnext: trellis jobs list queue:shop/pack state:active"
            return text in await show(next_one)

        await eventually(is_explained)
        await shop.jobs.pack.pause(reason="the scale is broken")
        shown = await show(next_one)
        may_end.set()

    assert "it waits: shop/pack was paused" in shown
    assert "the scale is broken\nnext: trellis queues resume shop/pack" in shown
