"""Everything at once: workers and the server killed at random under load. Nothing is lost, nothing ends twice."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from trellis_nats import JobEvent, TransportError
from trellis_nats.testing import NatsServer

from tests.support.shop import Parcel, Shop
from tests.support.shop_process import ShopProcess, shop_process

JOBS = 1_000
WORKERS = 3
WORKER_KILLS = 12
SERVER_KILLS = 3
TERMINAL = {"completed", "failed", "cancelled", "expired", "dead"}


async def test_no_job_is_lost_and_none_ends_twice_while_workers_and_server_are_killed(
    nats_server: NatsServer,
) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - a seed is not a secret
    print(f"seed {seed}, {JOBS} jobs, {WORKER_KILLS} worker kills, {SERVER_KILLS} server kills")  # noqa: T201 - how to repeat it
    chance = random.Random(seed)  # noqa: S311 - likewise
    history: list[JobEvent] = []
    accepted: list[str] = []
    async with Shop.connect(nats_server.url) as shop, shop.jobs.follow() as events, AsyncExitStack() as stack:
        reading = asyncio.create_task(read_until_all_ended(events, history, accepted))
        workers = [await stack.enter_async_context(shop_process(nats_server.url)) for _ in range(WORKERS)]
        submitting = asyncio.create_task(submit(shop, accepted))
        for kill in range(WORKER_KILLS):
            await asyncio.sleep(chance.uniform(0.1, 0.5))
            workers.append(await replaced(stack, workers, chance, nats_server.url))
            if kill % (WORKER_KILLS // SERVER_KILLS) == 0:
                nats_server.kill()
                nats_server.restart()
        await submitting
        await asyncio.wait_for(reading, 120)

    endings = Counter(event.job_id for event in history if event.event in TERMINAL)
    duplicates = Counter((event.job_id, event.tries) for event in history if event.event == "started")
    print(f"accepted {len(accepted)}, ended {len(endings)}, seed {seed}")  # noqa: T201 - the counts are the point
    assert set(accepted) <= set(endings), "an accepted job was lost"
    assert {job: count for job, count in endings.items() if count > 1} == {}
    assert {start: count for start, count in duplicates.items() if count > 1} == {}


async def submit(shop: Shop, accepted: list[str]) -> None:
    while len(accepted) < JOBS:
        try:
            accepted.append((await shop.jobs.pack.create(Parcel(number=0))).id)
        except TransportError:
            continue  # unknown: it may or may not be stored, and is not counted as accepted


async def read_until_all_ended(
    events: AsyncIterator[JobEvent], history: list[JobEvent], accepted: list[str]
) -> None:
    ended: set[str] = set()
    async for event in events:
        history.append(event)
        if event.event in TERMINAL:
            ended.add(event.job_id)
        if len(accepted) >= JOBS and ended.issuperset(accepted):
            return


async def replaced(
    stack: AsyncExitStack, workers: list[ShopProcess], chance: random.Random, url: str
) -> ShopProcess:
    victim = workers.pop(chance.randrange(len(workers)))
    victim.process.kill()
    return await stack.enter_async_context(shop_process(url))
