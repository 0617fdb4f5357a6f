"""Reading many large jobs at once: nothing cuts the connection, and every reader is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest
from pydantic import JsonValue
from trellis_nats import JobState
from trellis_nats._nats.wire.message import Message
from trellis_nats.ids import new_id
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.foreign_events import publish_foreign
from tests.support.proxy import Proxy
from tests.support.shop import Parcel, Shop

PENDING_MAX: Final = "max_pending: 40MB"
"""A server cuts a connection on which more waits: 64 MB by default, and less here, so that it takes fewer jobs."""
JOBS: Final = 90
"""Their results alone are 44 MB."""
LONG: Final = timedelta(seconds=60)
PAYLOAD: Final[dict[str, JsonValue]] = {"payload": {"number": 1, "note": "x" * 512 * 1024}}
RESULT: Final[dict[str, JsonValue]] = {"result": {"total": 1, "note": "x" * 488 * 1024}}
READ: Final = "$JS.API.DIRECT.GET.JOBS."


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with NatsServer(config=PENDING_MAX) as running:
        yield running


async def store(shop: Shop, job_id: str) -> None:
    """Store a job of a mebibyte that has ended."""
    await publish_foreign(shop, EventType.CREATED, job_id, PAYLOAD)
    await publish_foreign(shop, EventType.STARTED, job_id)
    await publish_foreign(shop, EventType.COMPLETED, job_id, RESULT)


@asynccontextmanager
async def watched_reads(shop: Shop) -> AsyncGenerator[list[str]]:
    """Yield the event types that are read from now on."""
    read, connection = list[str](), shop.jobs.runtime.connection

    def note(message: Message) -> None:
        read.append(message.subject.rpartition(".")[2])

    subscription = connection.subscribe(f"{READ}>", note)
    await connection.flush()
    yield read
    await subscription.unsubscribe()


async def test_many_large_jobs_are_read_at_once(server: NatsServer) -> None:
    job_ids = [new_id() for _ in range(JOBS)]
    async with Shop.connect(server.url) as writer:
        for job_id in job_ids:
            await store(writer, job_id)

    with LogSignals() as signals:
        async with Shop.connect(server.url) as shop:
            refs = [shop.jobs.pack.ref(job_id) for job_id in job_ids]
            snapshots = await asyncio.gather(*(ref.get() for ref in refs))
            results = await asyncio.gather(*(ref.result(timeout=LONG) for ref in refs))
            waited = await asyncio.gather(*(ref.wait(timeout=LONG) for ref in refs))

    assert {snapshot.state for snapshot in (*snapshots, *waited)} == {JobState.COMPLETED}
    assert {result.total for result in results} == {1}
    assert snapshots[0].payload.note == "x" * 512 * 1024
    assert not signals.of(LogEvent.CONNECTION_LOST)


async def test_a_few_large_jobs_among_small_ones_are_read_at_once(server: NatsServer) -> None:
    """The small ones come first, so that nothing hints at the large ones."""
    async with Shop.connect(server.url) as shop:
        small = [ref.id for ref in await shop.jobs.pack.create_many([Parcel(number=1)] * 300)]
        large = [new_id() for _ in range(60)]
        for job_id in large:
            await store(shop, job_id)

    with LogSignals() as signals:
        async with Shop.connect(server.url) as shop:
            refs = [shop.jobs.pack.ref(job_id) for job_id in (*small, *large)]
            snapshots = await asyncio.gather(*(ref.get() for ref in refs))

    assert [snapshot.is_terminal for snapshot in snapshots] == [False] * 300 + [True] * 60
    assert not signals.of(LogEvent.CONNECTION_LOST)


async def test_the_history_of_large_jobs_is_followed(server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(server.url) as shop:
            job_id = new_id()
            await publish_foreign(shop, EventType.CREATED, job_id, PAYLOAD)
            for _ in range(JOBS):
                await publish_foreign(shop, EventType.STARTED, job_id, {"payload": PAYLOAD["payload"]})
            await publish_foreign(shop, EventType.COMPLETED, job_id, RESULT)

            events = [event.event async for event in shop.jobs.pack.ref(job_id).events()]

    assert events == ["created", *["started"] * JOBS, "completed"]
    assert not signals.of(LogEvent.CONNECTION_LOST)


async def test_a_result_is_read_without_the_payload(server: NatsServer) -> None:
    async with Shop.connect(server.url) as shop, watched_reads(shop) as read:
        ended, begun, waiting = [await shop.jobs.pack.create(Parcel(number=number)) for number in range(3)]
        for ref in (ended, begun):
            await publish_foreign(shop, EventType.STARTED, ref.id)
        await publish_foreign(shop, EventType.COMPLETED, ended.id)
        refs = (ended, shop.jobs.pack.ref(ended.id), begun, shop.jobs.pack.ref(begun.id), waiting)
        results = [asyncio.create_task(ref.result(timeout=LONG)) for ref in refs]

        await asyncio.wait(results[:2])
        await eventually(lambda: "started" in read)
        await publish_foreign(shop, EventType.COMPLETED, begun.id)
        await asyncio.wait(results[:4])
        await publish_foreign(shop, EventType.COMPLETED, waiting.id)

        assert {result.total for result in await asyncio.gather(*results)} == {1}
        assert set(read) == {*TERMINAL_EVENTS, "started"}


async def test_waiters_read_again_after_a_reconnect_without_cutting_it(server: NatsServer) -> None:
    """The jobs end while their waiters are disconnected, and all of them read again."""
    async with (
        Proxy(server.port) as proxy,
        Shop.connect(server.url) as writer,
        Shop.connect(proxy.url) as shop,
        watched_reads(writer) as read,
    ):
        job_ids = [new_id() for _ in range(JOBS)]
        for job_id in job_ids:
            await publish_foreign(writer, EventType.CREATED, job_id, PAYLOAD)
            await publish_foreign(writer, EventType.STARTED, job_id)
        waiting = [asyncio.create_task(shop.jobs.pack.ref(each).result(timeout=LONG)) for each in job_ids]
        await eventually(lambda: read.count("started") == JOBS, within=LONG)
        proxy.blackhole()
        proxy.cut()
        for job_id in job_ids:
            await publish_foreign(writer, EventType.COMPLETED, job_id, RESULT)
        accepted = proxy.accepted
        proxy.heal()

        assert {result.total for result in await asyncio.gather(*waiting)} == {1}
        assert proxy.accepted - accepted <= 1, "the connection was cut again"
