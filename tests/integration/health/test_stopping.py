"""SIGTERM in every state: the process ends soon, with code 0 and nothing to read, and no job is lost."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from trellis_nats import JobRef, JobState
from trellis_nats._nats.jetstream.streams import consumer_info
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.probe import is_ready, probe
from tests.support.proxy import Proxy
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.stopping_process import SLOW_TO_CLEAN, StoppingProcess, stopping_process

LONG = 60
"""Seconds that a handler takes which is not to end by itself."""


@asynccontextmanager
async def working(
    url: str, *, grace: float = 20, lingers: bool = False
) -> AsyncGenerator[tuple[StoppingProcess, str]]:
    async with stopping_process(url, grace=grace, lingers=lingers) as worker:
        (address,) = await worker.heard("connected")
        worker.go_on()
        await worker.heard("runs")
        await eventually(lambda: is_ready(address))
        yield worker, address


async def finished_by_another(shop: Shop, ref: JobRef[Parcel, Receipt]) -> Receipt:
    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        return Receipt(total=job.tries)

    await shop.jobs.start_workers()
    return await ref.result(timeout=timedelta(seconds=10))


async def test_sigterm_while_connecting_ends_the_process() -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, stopping_process(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as worker:
        await connected.wait()
        worker.send()

        assert await worker.ended(within=5) < 1


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_idle_ends_the_process(nats_server: NatsServer, which: signal.Signals) -> None:
    async with working(nats_server.url) as (worker, _):
        worker.send(which)

        assert await worker.ended(within=5) < 1


async def test_sigterm_while_starting_ends_the_process(nats_server: NatsServer) -> None:
    """The server has just gone silent, so that the start would wait for its answers."""
    async with Proxy(nats_server.port) as proxy, stopping_process(proxy.url) as worker:
        await worker.heard("connected")
        proxy.blackhole()
        worker.go_on()
        await worker.heard("runs")
        worker.send()

        assert await worker.ended(within=10) < 7, "the heartbeat thread has 3 s to end, the farewell 2 s"


async def test_after_sigterm_nothing_is_fetched_and_running_handlers_end(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, working(nats_server.url) as (worker, address):
        running = await shop.jobs.pack.create(Parcel(number=1))
        await worker.heard("began")
        connection = shop.jobs.runtime.connection
        worker.send()
        sent = time.monotonic()

        async def nobody_fetches() -> bool:
            infos = [await consumer_info(connection, "JOBS_WORK", f"shop__{q}") for q in ("pack", "charge")]
            return [info and info["num_waiting"] for info in infos] == [0, 0]

        await eventually(nobody_fetches)
        assert time.monotonic() - sent < 0.1
        later = await shop.jobs.charge.create(Parcel(number=0))
        assert (await probe(address, "/livez")).status == 200
        assert (await probe(address, "/readyz")).errors()["service"] == "the service is stopping"
        await worker.ended(within=5)

        assert (await running.get()).state is JobState.COMPLETED
        assert (await later.get()).state is JobState.PENDING


async def test_after_the_grace_handlers_are_cancelled_and_their_jobs_released(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop, working(nats_server.url, grace=0.3) as (worker, _):
        ref = await shop.jobs.pack.create(Parcel(number=LONG))
        await worker.heard("began")
        worker.send()
        await worker.heard("cancelled")
        await worker.ended(within=5)

        assert ((await ref.get()).state, (await ref.get()).tries) == (JobState.RETRY, 0)
        assert await finished_by_another(shop, ref) == Receipt(total=1)


async def test_a_second_signal_ends_the_grace(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, working(nats_server.url) as (worker, address):
        ref = await shop.jobs.pack.create(Parcel(number=LONG))
        await worker.heard("began")
        worker.send()
        await eventually(lambda: is_stopping(address))
        worker.send(signal.SIGINT)

        assert await worker.ended(within=5) < 1
        assert ((await ref.get()).state, (await ref.get()).tries) == (JobState.RETRY, 0)
        assert await finished_by_another(shop, ref) == Receipt(total=1)


async def test_a_second_sigterm_while_releasing_loses_nothing(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, working(nats_server.url, grace=0.1) as (worker, _):
        ref = await shop.jobs.pack.create(Parcel(number=LONG, note=SLOW_TO_CLEAN))
        await worker.heard("began")
        worker.send()
        await worker.heard("cancelled")
        worker.send()
        await worker.ended(within=5)

        assert ((await ref.get()).state, (await ref.get()).tries) == (JobState.RETRY, 0)
        assert await finished_by_another(shop, ref) == Receipt(total=1)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["ended", "closed"])
async def test_a_second_signal_after_the_end_lets_the_process_end_by_itself(
    nats_server: NatsServer, which: signal.Signals, when: str
) -> None:
    """Its block has ended, or even its event loop; the program has only its own last lines to run."""
    async with working(nats_server.url, lingers=True) as (worker, _):
        worker.send()
        for said in ("ended", "closed"):
            await worker.heard(said)
            if said == when:
                worker.send(which)
            worker.go_on()

        assert await worker.ended(within=5) < 1


async def test_a_third_signal_ends_a_process_that_does_not_end_by_itself(nats_server: NatsServer) -> None:
    async with working(nats_server.url, lingers=True) as (worker, _):
        worker.send()
        await worker.heard("ended")
        worker.send()
        worker.go_on()
        await worker.heard("closed")
        worker.send()

        with pytest.raises(AssertionError, match=r"code -15"):
            await worker.ended(within=5)


async def test_sigterm_while_reconnecting_ends_the_process(nats_server: NatsServer) -> None:
    """Its release cannot be written: the job is given to another after the ack wait."""
    async with working(nats_server.url, grace=0.1) as (worker, address):
        async with Shop.connect(nats_server.url) as shop:
            ref = await shop.jobs.pack.create(Parcel(number=LONG))
        await worker.heard("began")
        nats_server.kill()
        await eventually(lambda: is_not_ready(address))
        worker.send()
        await worker.heard("cancelled")
        worker.send()

        assert await worker.ended(within=10) < 8, (
            "2 s to release, 3 s for the heartbeat thread, 1 s for the lease"
        )
        nats_server.restart()
        async with Shop.connect(nats_server.url) as shop:
            again = shop.jobs.pack.ref(ref.id)
            assert await finished_by_another(shop, again) == Receipt(total=2), (
                "the try that was cut off counts"
            )


async def is_stopping(address: str) -> bool:
    return "service" in (await probe(address, "/readyz")).errors()


async def is_not_ready(address: str) -> bool:
    return not await is_ready(address)
