"""Memory, tasks, subscriptions and files stay flat over thousands of jobs and several outages."""

import asyncio
import gc
import os
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats import JobRetry, Options
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.pending import count_pending
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

ROUNDS: Final = 6
WARM_UP: Final = 3
"""Rounds after which every cache is filled."""
GROWTH: Final = 1.03
JOBS: Final = 2_000
OBJECTS_MORE: Final = (ROUNDS - WARM_UP) * JOBS // 10
"""One for every tenth job of the rounds that are compared. Timers that run, and records that pytest keeps of the log, are a
few hundred; what the processes of tests have imported is frozen, and not counted."""
PATIENCE: Final = timedelta(seconds=120)
MEBIBYTE: Final = 2**20


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    memory_mib: int
    objects: int
    tasks: int
    subscriptions: int
    files: int
    awaited: int

    @classmethod
    def of(cls, shop: Shop) -> "Footprint":
        gc.collect()
        alive = gc.get_objects()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return cls(
            memory_mib=pages * os.sysconf("SC_PAGE_SIZE") // MEBIBYTE,
            objects=len(alive),
            tasks=len(asyncio.all_tasks()),
            subscriptions=sum(isinstance(each, Subscription) for each in alive),
            files=len(list(Path("/proc/self/fd").iterdir())),
            awaited=count_pending(shop.jobs.runtime.connection),
        )


@pytest.mark.timeout(600)
async def test_a_long_run_holds_nothing_back(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=Options(health_listen="0")) as shop:

        @shop.jobs.pack.handle(concurrency=20)
        async def pack(job: ParcelJob) -> Receipt:
            if job.payload.number % 20 == 0 and job.tries == 1:
                raise JobRetry("once more", after=timedelta(milliseconds=1))
            if job.payload.number % 10 == 0:
                await job.progress(step="packing")
            return Receipt(total=job.tries)

        await shop.start()
        await eventually(does_maintenance, within=PATIENCE)
        seen: list[Footprint] = []
        for _ in range(ROUNDS):
            refs = await shop.jobs.pack.create_many([Parcel(number=number) for number in range(JOBS)])
            nats_server.kill()
            nats_server.restart()
            await asyncio.gather(*(ref.cancel("no more") for ref in refs[-50:]))
            await asyncio.gather(*(ref.wait(timeout=PATIENCE) for ref in refs[-200:]))
            await eventually(lambda: nothing_left(shop), within=PATIENCE)
            del refs
            await eventually(lambda: is_quiet(shop), within=PATIENCE)
            await shop.health.report()
            seen.append(Footprint.of(shop))
            print(seen[-1])  # noqa: T201 - the numbers are the point

    first, last = seen[WARM_UP - 1], seen[-1]
    for field in fields(Footprint):
        before, after = getattr(first, field.name), getattr(last, field.name)
        more = OBJECTS_MORE if field.name == "objects" else 2
        assert after <= before * GROWTH + more, f"{field.name} grew from {before} to {after}"


def does_maintenance() -> bool:
    """The tasks of the leader start with the first instance, and exist from then on."""
    return any(task.get_name() == "leader tasks" for task in asyncio.all_tasks())


async def nothing_left(shop: Shop) -> bool:
    info = await get_consumer_info(shop.jobs.runtime.connection, "JOBS_WORK", "shop__pack")
    return info is not None and info.pending == 0 and info.ack_pending == 0


def is_quiet(shop: Shop) -> bool:
    """Answers that went lost with the server are waited for until their time is over."""
    works = [task for task in asyncio.all_tasks() if task.get_name().startswith("work ")]
    return not works and count_pending(shop.jobs.runtime.connection) == 0
