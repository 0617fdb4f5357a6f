"""SIGTERM in every state: the process ends soon, with code 0 and no output, and no job is lost."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from trellis_nats import JobRef, JobState
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.listening import listening
from tests.support.probe import is_ready, probe
from tests.support.proxy import Proxy
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.stopping_process import SLOW_TO_CLEAN, StoppingProcess, stopping_process

LONG = 60
"""Seconds that a handler takes which must not end before the test does."""
GRACE = 30
"""Seconds that a process waits for its handlers."""
SOON = 15
"""Seconds for a process to end without waiting for its grace: 6 s of limits for a dead server, the rest for load."""


@asynccontextmanager
async def working(
    url: str, *, grace: float = GRACE, lingers: bool = False
) -> AsyncGenerator[tuple[StoppingProcess, str]]:
    async with stopping_process(url, grace=grace, lingers=lingers) as worker:
        (address,) = await worker.wait_for("connected")
        worker.go_on()
        await worker.wait_for("runs")
        await eventually(lambda: is_ready(address))
        yield worker, address


async def finish_elsewhere(shop: Shop, ref: JobRef[Parcel, Receipt]) -> Receipt:
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

    async with listening(silent) as port, stopping_process(f"127.0.0.1:{port}") as worker:
        await connected.wait()
        worker.send()

        await worker.ended(within=SOON)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_idle_ends_the_process(nats_server: NatsServer, which: signal.Signals) -> None:
    async with working(nats_server.url) as (worker, _):
        worker.send(which)

        await worker.ended(within=SOON)


async def test_sigterm_while_starting_ends_the_process(nats_server: NatsServer) -> None:
    """The server has just gone silent, so that the start would wait for its answers."""
    async with Proxy(nats_server.port) as proxy, stopping_process(proxy.url) as worker:
        await worker.wait_for("connected")
        proxy.blackhole()
        worker.go_on()
        await worker.wait_for("runs")
        worker.send()

        await worker.ended(within=SOON)


async def test_after_sigterm_nothing_is_fetched_and_running_handlers_end(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, working(nats_server.url) as (worker, address):
        running = await shop.jobs.pack.create(Parcel(number=1))
        await worker.wait_for("began")
        connection = shop.jobs.runtime.connection
        worker.send()

        async def no_worker_fetches() -> bool:
            infos = [
                await get_consumer_info(connection, "JOBS_WORK", f"shop__{q}") for q in ("pack", "charge")
            ]
            return [info and info.waiting for info in infos] == [0, 0]

        await eventually(no_worker_fetches)  # a pull request would wait for 30 s
        later = await shop.jobs.charge.create(Parcel(number=0))
        assert (await probe(address, "/livez")).status == 200
        assert (await probe(address, "/readyz")).errors()["service"] == "the service is stopping"
        await worker.ended(within=SOON)

        assert (await running.get()).state is JobState.COMPLETED
        assert (await later.get()).state is JobState.PENDING


async def test_after_the_grace_period_handlers_are_cancelled_and_their_jobs_released(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop, working(nats_server.url, grace=0.3) as (worker, _):
        ref = await shop.jobs.pack.create(Parcel(number=LONG))
        await worker.wait_for("began")
        worker.send()
        await worker.wait_for("cancelled")
        await worker.ended(within=SOON)

        assert ((await ref.get()).state, (await ref.get()).tries) == (JobState.RETRY, 0)
        assert await finish_elsewhere(shop, ref) == Receipt(total=1)


async def test_a_second_signal_ends_the_grace_period(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, working(nats_server.url) as (worker, address):
        ref = await shop.jobs.pack.create(Parcel(number=LONG))
        await worker.wait_for("began")
        worker.send()
        await eventually(lambda: is_stopping(address))
        worker.send(signal.SIGINT)

        await worker.ended(within=SOON)
        assert ((await ref.get()).state, (await ref.get()).tries) == (JobState.RETRY, 0)
        assert await finish_elsewhere(shop, ref) == Receipt(total=1)


async def test_a_second_sigterm_while_releasing_loses_nothing(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, working(nats_server.url, grace=0.1) as (worker, _):
        ref = await shop.jobs.pack.create(Parcel(number=LONG, note=SLOW_TO_CLEAN))
        await worker.wait_for("began")
        worker.send()
        await worker.wait_for("cancelled")
        worker.send()
        await worker.ended(within=SOON)

        assert ((await ref.get()).state, (await ref.get()).tries) == (JobState.RETRY, 0)
        assert await finish_elsewhere(shop, ref) == Receipt(total=1)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["ended", "closed"])
async def test_a_second_signal_after_the_end_does_not_interrupt_the_process(
    nats_server: NatsServer, which: signal.Signals, when: str
) -> None:
    """Its block has ended, or even its event loop; the program has only its own last lines to run."""
    async with working(nats_server.url, lingers=True) as (worker, _):
        worker.send()
        for moment in ("ended", "closed"):
            await worker.wait_for(moment)
            if moment == when:
                worker.send(which)
            worker.go_on()

        await worker.ended(within=SOON)


async def test_a_third_signal_ends_a_process_that_hangs(nats_server: NatsServer) -> None:
    async with working(nats_server.url, lingers=True) as (worker, _):
        worker.send()
        await worker.wait_for("ended")
        worker.send()
        worker.go_on()
        await worker.wait_for("closed")
        worker.send()

        with pytest.raises(AssertionError, match=r"code -15"):
            await worker.ended(within=SOON)


async def test_sigterm_while_reconnecting_ends_the_process(nats_server: NatsServer) -> None:
    """Its release cannot be stored: the job is redelivered after the ack wait."""
    async with working(nats_server.url, grace=0.1) as (worker, address):
        async with Shop.connect(nats_server.url) as shop:
            ref = await shop.jobs.pack.create(Parcel(number=LONG))
        await worker.wait_for("began")
        nats_server.kill()
        await eventually(lambda: is_not_ready(address))
        worker.send()
        await worker.wait_for("cancelled")
        worker.send()

        await worker.ended(within=SOON)
        nats_server.restart()
        async with Shop.connect(nats_server.url) as shop:
            again = shop.jobs.pack.ref(ref.id)
            assert await finish_elsewhere(shop, again) == Receipt(total=2), (
                "the attempt that was interrupted counts"
            )


async def is_stopping(address: str) -> bool:
    return "service" in (await probe(address, "/readyz")).errors()


async def is_not_ready(address: str) -> bool:
    return not await is_ready(address)
