"""Cancelling a job before, while and after it runs."""

import asyncio
import time
from datetime import timedelta

import pytest
from trellis_nats import JobCancelled, JobRef, JobState
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.inspection import inspect_queue
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON = timedelta(seconds=10)


async def test_a_cancelled_job_that_waits_never_starts(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        worked: list[int] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            worked.append(job.payload.number)
            return Receipt(total=0)

        cancelled = await shop.jobs.pack.create(Parcel(number=1))
        assert (await cancelled.cancel("no longer wanted")).state is JobState.CANCELLED
        assert (await cancelled.cancel("again")).last_error == "no longer wanted"
        after = await shop.jobs.pack.create(Parcel(number=2))
        await shop.jobs.start_workers()
        await after.result(timeout=SOON)

        with pytest.raises(JobCancelled, match="no longer wanted"):
            await cancelled.result()
    assert worked == [2]


async def test_a_running_handler_sees_its_cancellation_and_its_result_is_dropped(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            assert not job.is_cancelled
            running.set()
            await job.cancelled.wait()
            assert job.is_cancelled
            return Receipt(total=1)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        snapshot = await ref.cancel("stop it")
        await host.stop()

        assert snapshot.state is JobState.CANCELLED
        assert (await ref.get()).state is JobState.CANCELLED


async def test_a_job_that_completed_cannot_be_cancelled(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        ref = await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.start_workers()
        await ref.result(timeout=SOON)

        assert (await ref.cancel()).state is JobState.COMPLETED


async def test_a_cancellation_is_seen_within_250_ms(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, Shop.connect(nats_server.url) as other:
        running = asyncio.Event()
        seen: list[float] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await job.cancelled.wait()
            seen.append(time.monotonic())
            raise JobCancelled

        await shop.jobs.start_workers()
        ref = await other.jobs.pack.create(Parcel(number=1))
        await running.wait()
        asked = time.monotonic()
        await ref.cancel()
        await ref.wait(timeout=SOON)
        await shop.stop()

    assert len(seen) == 1
    assert seen[0] - asked < 0.25


async def test_a_job_that_waits_for_its_next_attempt_can_be_cancelled(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        failed = asyncio.Event()
        tries: list[int] = []

        @shop.jobs.charge.handle
        async def charge(job: ParcelJob) -> Receipt:
            tries.append(job.tries)
            failed.set()
            raise ConnectionError("no answer")

        await shop.jobs.start_workers()
        ref = await shop.jobs.charge.create(Parcel(number=1))
        await failed.wait()
        await eventually(lambda: is_waiting(ref))
        assert (await ref.cancel("changed my mind")).state is JobState.CANCELLED

        with pytest.raises(JobCancelled, match="changed my mind"):
            await ref.result(timeout=SOON)
    assert tries == [1]


async def test_a_handler_that_raises_job_cancelled_cancels_the_job(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            raise JobCancelled("nothing to pack")

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        with pytest.raises(JobCancelled, match="nothing to pack"):
            await ref.result(timeout=SOON)
        assert (await ref.get()).tries == 1


async def is_waiting(ref: JobRef[Parcel, Receipt]) -> bool:
    return (await ref.get()).state is JobState.RETRY


async def test_a_report_of_another_runtime_behind_the_end_leaves_the_job_cancelled(
    nats_server: NatsServer,
) -> None:
    """The worker of another runtime reports without a fence, until it notices the cancellation."""
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        event_log = inspect_queue(shop.jobs.pack).event_log
        created = await event_log.newest(ref.id)
        assert created is not None
        before = await ref.cancel("no longer wanted")

        report = created.event.model_copy(
            update={"event_type": EventType.PROGRESS, "state": JobState.ACTIVE, "tries": 1, "payload": None}
        )
        subject = f"trellis.jobs.shop.pack.{ref.id}.progress"
        await publish_acked(shop.jobs.runtime.connection, subject, report.encode())

        assert (await ref.get()).state is before.state is JobState.CANCELLED
        assert (await ref.cancel("again")).state is JobState.CANCELLED
