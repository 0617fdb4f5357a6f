"""How many reads and writes the handle on a job takes: what was read is not read again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from trellis_nats import JobState
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=10)
READ: Final = "$JS.API.DIRECT.GET.JOBS."
EVENTS: Final = "trellis.jobs.shop.pack."


class Traffic:
    """What the server received since the last call of `taken`."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._count: Counter[str] = Counter()

    def on_message(self, message: Message) -> None:
        self._count["reads" if message.subject.startswith(READ) else "writes"] += 1

    async def taken(self) -> dict[str, int]:
        """Return the reads and writes until now, and begin again."""
        await self._shop.jobs.runtime.connection.flush()
        taken, self._count = dict(self._count), Counter()
        return taken


@asynccontextmanager
async def counted(server: NatsServer) -> AsyncGenerator[tuple[Shop, Traffic]]:
    async with Shop.connect(server.url) as shop:
        traffic, connection = Traffic(shop), shop.jobs.runtime.connection
        for subject in (f"{READ}>", f"{EVENTS}>"):
            connection.subscribe(subject, traffic.on_message)
        await connection.flush()
        yield shop, traffic


async def test_a_job_that_waits_is_cancelled_with_one_read_and_one_write(nats_server: NatsServer) -> None:
    async with counted(nats_server) as (shop, traffic):
        ref = await shop.jobs.pack.create(Parcel(number=1))
        assert await traffic.taken() == {"writes": 1}

        snapshot = await ref.cancel("no longer wanted")

        assert await traffic.taken() == {"reads": 1, "writes": 1}
        assert snapshot == await ref.get()
        assert (snapshot.state, snapshot.last_error) == (JobState.CANCELLED, "no longer wanted")


async def test_a_running_job_is_cancelled_with_the_reads_of_what_came_before(nats_server: NatsServer) -> None:
    async with counted(nats_server) as (shop, traffic):
        running, stop = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise RuntimeError("no tape")
            await job.progress(step="half")
            running.set()
            await stop.wait()
            return Receipt(total=1)

        ref = await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.start_workers()
        await running.wait()
        await traffic.taken()

        snapshot = await ref.cancel()

        # Its worker reads once when it receives the cancellation.
        counts = await traffic.taken()
        assert counts["writes"] == 1
        assert counts["reads"] in {15, 16}, "the newest event, and fourteen other types"
        stop.set()
        assert snapshot == await ref.get()
        assert snapshot.progress is not None
        assert (snapshot.state, snapshot.tries, snapshot.progress.step) == (JobState.CANCELLED, 2, "half")


async def test_a_job_that_waits_is_read_with_one_read(nats_server: NatsServer) -> None:
    async with counted(nats_server) as (shop, traffic):
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await traffic.taken()

        assert (await ref.get()).state is JobState.PENDING

        assert await traffic.taken() == {"reads": 1}
