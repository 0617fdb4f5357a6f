"""Many processes submit to one key at the same time."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

from trellis_nats.testing import NatsServer

from tests.support.ferry import Cargo, CargoJob, Ferry, Stowed

ANNA: Final = Cargo(ship="anna")
SOON: Final = timedelta(seconds=20)
LONG: Final = 3.0
"""In seconds: three leases."""


async def test_a_slot_is_renewed_while_many_submit_to_its_key(nats_server: NatsServer) -> None:
    async with AsyncExitStack() as stack:
        ferries = [await stack.enter_async_context(Ferry.connect(nats_server.url)) for _ in range(8)]
        began: list[str] = []
        done = asyncio.Event()

        @ferries[0].jobs.once.handle
        async def work(job: CargoJob) -> Stowed:
            began.append(job.id)
            await asyncio.sleep(LONG)
            done.set()
            return Stowed(number=1)

        async def submit(ferry: Ferry) -> None:
            while not done.is_set():
                await ferry.jobs.once.submit(ANNA)

        await ferries[0].jobs.start_workers()
        first = await ferries[0].jobs.once.create(ANNA)
        await asyncio.gather(*map(submit, ferries))

        assert (await first.wait(timeout=SOON)).tries == 1
        assert began[0] == first.id
