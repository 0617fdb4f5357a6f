"""Handlers that keep every thread of asyncio's pool busy: nothing in the runtime waits for one of them."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta

from trellis_nats import JobRef, JobState, Options
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

OPTIONS = Options(shutdown_grace=timedelta(0))


@asynccontextmanager
async def busy_shop(url: str) -> AsyncGenerator[tuple[Shop, JobRef[Parcel, Receipt]]]:
    """A service and its running job, whose handler waits in the only thread of the pool until the block is left."""
    pool, left = ThreadPoolExecutor(1), threading.Event()
    asyncio.get_running_loop().set_default_executor(pool)
    began = asyncio.Event()
    try:
        async with Shop.connect(url, options=OPTIONS) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                began.set()
                await asyncio.to_thread(left.wait, 30)
                return Receipt(total=1)

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await eventually(began.is_set)
            yield shop, ref
    finally:
        left.set()


async def test_a_stop_does_not_wait_for_a_thread(nats_server: NatsServer) -> None:
    async with busy_shop(nats_server.url) as (shop, _), asyncio.timeout(10):
        await shop.stop()


async def test_a_server_with_a_name_is_found_again(nats_server: NatsServer) -> None:
    async with busy_shop(f"nats://localhost:{nats_server.port}") as (_, ref):
        nats_server.kill()
        nats_server.start()
        assert (await ref.get()).state is JobState.ACTIVE
