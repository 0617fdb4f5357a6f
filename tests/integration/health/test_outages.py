"""After every outage, work resumes within 5 s of the server being reachable; until then the service is not ready."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from pydantic import JsonValue
from trellis_nats import Options
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.streams import create_consumer, create_stream
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.probe import is_ready, probe
from tests.support.proxy import Proxy
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

RED_WITHIN: Final = timedelta(seconds=10)
AGAIN_WITHIN: Final = timedelta(seconds=5)
STREAM, CONSUMER = "JOBS_WORK", "shop__pack"


class Packer:
    """A worker, and what a probe and a producer see of it."""

    def __init__(self, shop: Shop, admin: Connection) -> None:
        self.shop = shop
        self.admin = admin
        self.address = shop.health.address or ""

    async def reason(self) -> str | None:
        """Return why the worker receives no jobs."""
        answer = await probe(self.address, "/readyz")
        return None if answer.status == 200 else answer.errors().get("jobs.pack")

    async def is_green(self) -> bool:
        return await is_ready(self.address)

    async def finish_job(self, *, within: timedelta) -> None:
        """Create a job and wait until it is done."""
        async with asyncio.timeout(within.total_seconds()):
            ref = await self.shop.jobs.pack.create(Parcel(number=1))
            await ref.result(timeout=within)


@asynccontextmanager
async def packer(url: str, admin_url: str) -> AsyncGenerator[Packer]:
    options = Options(health_listen="0")
    async with Shop.connect(admin_url) as admin, Shop.connect(url, options=options) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.start()
        standing = Packer(shop, admin.jobs.runtime.connection)
        await eventually(standing.is_green)
        yield standing


async def test_work_resumes_after_two_seconds_without_a_server(nats_server: NatsServer) -> None:
    async with packer(nats_server.url, nats_server.url) as worker:
        nats_server.kill()
        assert await eventually(worker.reason, within=RED_WITHIN) == "disconnected"
        await asyncio.sleep(2)  # the length of the outage
        nats_server.start()

        await worker.finish_job(within=AGAIN_WITHIN)
        await eventually(worker.is_green)


async def test_work_resumes_after_the_network_was_silent(nats_server: NatsServer) -> None:
    async with Proxy(nats_server.port) as proxy, packer(proxy.url, nats_server.url) as worker:
        proxy.blackhole()
        await eventually(worker.reason, within=RED_WITHIN)
        proxy.heal()

        await worker.finish_job(within=AGAIN_WITHIN)
        await eventually(worker.is_green)


async def config(connection: Connection, request: str) -> dict[str, JsonValue]:
    found = (await call(connection, request))["config"]
    assert isinstance(found, dict)
    return found


async def delete_consumer(admin: Connection) -> Callable[[], Awaitable[object]]:
    old = await config(admin, f"CONSUMER.INFO.{STREAM}.{CONSUMER}")
    await call(admin, f"CONSUMER.DELETE.{STREAM}.{CONSUMER}")
    return lambda: create_consumer(admin, STREAM, old)


async def delete_stream(admin: Connection) -> Callable[[], Awaitable[object]]:
    old = await config(admin, f"STREAM.INFO.{STREAM}")
    consumer = await config(admin, f"CONSUMER.INFO.{STREAM}.{CONSUMER}")
    await call(admin, f"STREAM.DELETE.{STREAM}")

    async def create() -> None:
        await create_stream(admin, old)
        await create_consumer(admin, STREAM, consumer)

    return create


async def pause_consumer(admin: Connection) -> Callable[[], Awaitable[object]]:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await call(admin, f"CONSUMER.PAUSE.{STREAM}.{CONSUMER}", {"pause_until": until})
    return lambda: call(admin, f"CONSUMER.PAUSE.{STREAM}.{CONSUMER}", {})


@pytest.mark.parametrize(
    ("hurt", "words"),
    [(delete_consumer, CONSUMER), (delete_stream, CONSUMER), (pause_consumer, "paused")],
)
async def test_work_resumes_when_a_deleted_consumer_is_back(
    nats_server: NatsServer,
    hurt: Callable[[Connection], Awaitable[Callable[[], Awaitable[object]]]],
    words: str,
) -> None:
    async with packer(nats_server.url, nats_server.url) as worker:
        heal = await hurt(worker.admin)
        reason = await eventually(worker.reason, within=RED_WITHIN)
        assert words in str(reason)
        await heal()

        await worker.finish_job(within=AGAIN_WITHIN)
        await eventually(worker.is_green, within=RED_WITHIN)


async def test_a_consumer_at_its_limit_degrades_and_stays_ready(nats_server: NatsServer) -> None:
    """The reason is reported; the service stays ready, because it would work if the server let it."""
    async with Shop.connect(nats_server.url) as admin, Shop.connect(nats_server.url) as shop:
        connection, held = admin.jobs.runtime.connection, asyncio.Event()
        old = await config(connection, f"CONSUMER.INFO.{STREAM}.{CONSUMER}")
        narrow: dict[str, JsonValue] = {**old, "max_ack_pending": 1, "ack_wait": 60_000_000_000}
        request = f"CONSUMER.CREATE.{STREAM}.{CONSUMER}.{old['filter_subject']}"
        await call(connection, request, {"stream_name": STREAM, "config": narrow})
        for number in (1, 2):
            await shop.jobs.pack.create(Parcel(number=number))
        inbox = connection.new_inbox()
        connection.subscribe(inbox, lambda _: held.set())
        connection.send(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}", b"1", reply=inbox)
        await held.wait()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.start()
        problems = await eventually(lambda: problems_of(shop), within=RED_WITHIN)
        report = await shop.health.report()

    assert "max_ack_pending 1" in problems[0]
    assert (report.status, report.ready) == ("degraded", True)


async def problems_of(shop: Shop) -> tuple[str, ...]:
    return tuple(problem for problem in (await shop.health.report()).problems if "delivered" in problem)
