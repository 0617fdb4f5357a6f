"""The same jobs on servers that fence and batch, and on those that do not."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
from trellis_nats import JobCancelled, JobState
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.clock import now
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.outcome import Completed, settle
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.versions import VERSIONS, binary_of

SOON = timedelta(seconds=10)


@pytest.fixture(params=[*VERSIONS, None], ids=[*VERSIONS, "newest"])
def server(request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    version: str | None = request.param
    binary = None if version is None else binary_of(version)
    if binary is not None and not binary.exists():
        pytest.skip(f"nats-server {version} is not installed: `make test` does that")
    with NatsServer(binary=binary) as started:
        yield started


async def test_a_job_retries_and_completes(server: NatsServer) -> None:
    async with Shop.connect(server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await job.progress(step="packing")
            if job.tries == 1:
                raise ConnectionError("the belt stands still")
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=2)
        assert [event.event async for event in ref.events()] == [
            "created",
            "started",
            "progress",
            "retry",
            "started",
            "progress",
            "completed",
        ]


async def test_the_next_attempt_has_the_checkpoint(server: NatsServer) -> None:
    async with Shop.connect(server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                await job.checkpoint({"row": 7})
                raise ConnectionError("the belt stands still")
            assert job.last_checkpoint == {"row": 7}
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=1)


async def test_many_jobs_and_one_key(server: NatsServer) -> None:
    async with Shop.connect(server.url) as shop:
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(1_200)])
        once = [await shop.jobs.pack.create(Parcel(number=n), idempotency_key="k") for n in range(3)]

        assert len({ref.id for ref in refs}) == 1_200
        assert {(await ref.get()).payload.number for ref in (refs[0], refs[-1])} == {0, 1_199}
        assert len({ref.id for ref in once}) == 1
        assert (await once[0].get()).payload.number == 0


async def test_cancelling_and_completing_at_once_has_one_winner(server: NatsServer) -> None:
    async with Shop.connect(server.url) as shop:
        arrived: asyncio.Queue[str] = asyncio.Queue()
        go_on = asyncio.Event()

        @shop.jobs.pack.handle(concurrency=20)
        async def pack(job: ParcelJob) -> Receipt:
            arrived.put_nowait(job.id)
            await go_on.wait()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(20)])
        for _ in refs:
            await arrived.get()
        go_on.set()
        said = await asyncio.gather(*(ref.cancel() for ref in refs))
        final = [await ref.wait(timeout=SOON) for ref in refs]

        assert [snapshot.state for snapshot in said] == [snapshot.state for snapshot in final]
        assert {snapshot.state for snapshot in final} <= {JobState.COMPLETED, JobState.CANCELLED}


async def test_an_ending_behind_another_one_counts_for_no_reader(server: NatsServer) -> None:
    """Written without a fence, as a runtime of another generation may do on any server."""
    async with Shop.connect(server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        snapshot = await ref.cancel("first")
        identity = JobIdentity(job_id=ref.id, service="shop", queue="pack", context=snapshot.context)
        settlement = settle(Completed(b'{"total":1}'), tries=1, max_attempts=3, backoff=())
        late = identity.settled(settlement, EventType.COMPLETED, result=b'{"total":1}', at=now())
        await publish_acked(
            shop.jobs.runtime.connection, f"trellis.jobs.shop.pack.{ref.id}.completed", late.encode()
        )

        with pytest.raises(JobCancelled, match="first"):
            await ref.result(timeout=SOON)
        assert [event.event async for event in ref.events()] == ["created", "cancelled"]


async def test_a_server_without_fences_is_named_once_at_the_start(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="trellis_nats.connect"):
        async with Shop.connect(server.url) as shop:
            fences = shop.jobs.runtime.connection.server_version >= (2, 11, 0)

    said = [record.message for record in caplog.records if "does not fence" in record.message]
    assert len(said) == (0 if fences else 1)
