"""Long outages: the service is red meanwhile, and works within seconds of the server being back, without a restart."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import JobRef, JobState, Options, TransportError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.testing import NatsServer

from tests.support.cluster import running_cluster
from tests.support.eventually import eventually
from tests.support.probe import is_ready, probe
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.stopping_process import stopping_process

OUTAGE: Final = 150
"""Seconds. nats-py's own two minutes of attempts end before that."""
RED_WITHIN: Final = timedelta(seconds=10)
AGAIN_WITHIN: Final = 5.0
SIGNALLED: Final = 15
"""Processes that get a signal at a random moment."""


@asynccontextmanager
async def packing(url: str) -> AsyncGenerator[Shop]:
    async with Shop.connect(url, options=Options(health_listen="0")) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.start()
        await eventually(lambda: is_ready(str(shop.health.address)))
        yield shop


@pytest.mark.timeout(OUTAGE + 60)
async def test_a_server_that_was_away_for_150_seconds(nats_server: NatsServer) -> None:
    async with packing(nats_server.url) as shop:
        address = str(shop.health.address)
        nats_server.kill()
        down = time.monotonic()
        await eventually(lambda: is_red(address), within=RED_WITHIN)
        red = time.monotonic() - down
        await asyncio.sleep(OUTAGE)  # its length is the point
        assert (await probe(address, "/livez")).status == 200
        assert await is_red(address)
        nats_server.start()
        back = time.monotonic()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.result(timeout=timedelta(seconds=20))
        worked = time.monotonic() - back
        await eventually(lambda: is_ready(address))
        print(f"150 s outage: red after {red:.2f} s, work again after {worked:.2f} s")  # noqa: T201 - the numbers are the point

        assert worked < AGAIN_WITHIN


@pytest.mark.timeout(300)
async def test_a_cluster_that_loses_the_leader_of_its_work() -> None:
    """Counted from the moment at which stream and consumer have a leader again."""
    async with running_cluster() as cluster, packing(cluster.url) as shop:
        connection = shop.jobs.runtime.connection
        for _ in range(3):
            killed = (await leaders(connection))[1]
            await asyncio.to_thread(cluster.servers[killed].kill)
            began = time.monotonic()
            await eventually(lambda: has_new_leaders(connection, killed), within=timedelta(seconds=60))  # noqa: B023 - called in this turn
            led = time.monotonic()
            await eventually(lambda: is_ready(str(shop.health.address)), within=timedelta(seconds=60))
            ready = time.monotonic()
            ref = await created(shop)
            await ref.result(timeout=timedelta(seconds=60))
            worked = time.monotonic()
            print(  # noqa: T201 - the numbers are the point
                f"leader {killed} killed: leaders after {led - began:.2f} s, then ready after {ready - led:.2f} s, "
                f"a job accepted and done after {worked - led:.2f} s"
            )
            assert ready - led < AGAIN_WITHIN
            await asyncio.to_thread(cluster.servers[killed].start)
            await eventually(lambda: has_all_replicas(connection), within=timedelta(seconds=60))


@pytest.mark.timeout(300)
async def test_signals_at_random_moments_lose_nothing_and_use_up_no_attempt(nats_server: NatsServer) -> None:
    """One or two signals, while working one job after another."""
    seed = random.randrange(2**32)  # noqa: S311 - a seed is not a secret
    chance = random.Random(seed)  # noqa: S311 - likewise
    print(f"seed {seed}, {SIGNALLED} processes")  # noqa: T201 - how to repeat it
    longest = 0.0
    async with Shop.connect(nats_server.url) as shop:
        refs = [await shop.jobs.pack.create(Parcel(number=0)) for _ in range(2000)]
        for number in range(SIGNALLED):
            slow = await shop.jobs.charge.create(Parcel(number=60))
            async with stopping_process(nats_server.url, grace=0.2) as worker:
                await worker.wait_for("connected")
                worker.go_on()
                await worker.wait_for("runs")
                await asyncio.sleep(chance.uniform(0, 0.6))
                worker.send()
                if number % 2:
                    await asyncio.sleep(chance.uniform(0, 0.3))
                    worker.send(chance.choice([signal.SIGTERM, signal.SIGINT]))
                sent = time.monotonic()
                await worker.ended(within=10)
                longest = max(longest, time.monotonic() - sent)
            snapshot = await slow.get()
            assert (snapshot.state, snapshot.tries) in {(JobState.RETRY, 0), (JobState.PENDING, 0)}
            await slow.cancel("enough")
        done = [(await ref.get()) for ref in refs]
        print(f"longest end {longest:.2f} s, {sum(each.is_terminal for each in done)} jobs done")  # noqa: T201 - likewise

        @shop.jobs.pack.handle(concurrency=20)
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        results = [await ref.result(timeout=timedelta(seconds=30)) for ref in refs]

    assert {result.total for result in results} == {1}, "every job was done by its first try that counts"


async def is_red(address: str) -> bool:
    return not await is_ready(address)


async def leaders(connection: Connection) -> tuple[str, str]:
    """Return the leaders of the stream of work and of the consumer; empty where there is none."""
    try:
        found = (
            await call(connection, "STREAM.INFO.JOBS_WORK", repeat=True),
            await call(connection, "CONSUMER.INFO.JOBS_WORK.shop__pack", repeat=True),
        )
    except TransportError:
        return "", ""
    clusters = [info.get("cluster") for info in found]
    first, second = (str(each.get("leader", "")) if isinstance(each, dict) else "" for each in clusters)
    return first, second


async def has_new_leaders(connection: Connection, old: str) -> bool:
    now = await leaders(connection)
    return "" not in now and old not in now


async def has_all_replicas(connection: Connection) -> bool:
    info = await get_stream_info(connection, "JOBS_WORK")
    cluster = None if info is None else info.get("cluster")
    replicas = cluster.get("replicas") if isinstance(cluster, dict) else None
    return isinstance(replicas, list) and all(
        isinstance(each, dict) and each.get("current") for each in replicas
    )


async def created(shop: Shop) -> JobRef[Parcel, Receipt]:
    while True:
        try:
            return await shop.jobs.pack.create(Parcel(number=1))
        except TransportError:
            await asyncio.sleep(0.05)
