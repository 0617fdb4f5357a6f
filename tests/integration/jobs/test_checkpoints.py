"""What a handler stores with `job.checkpoint` reaches the next attempt, and confuses no reader."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Final

import pytest
from pydantic import BaseModel, JsonValue
from trellis_nats import (
    InvalidPayload,
    JobCancelled,
    JobError,
    JobState,
    Maintenance,
    Options,
    RescueReport,
    TransportError,
)
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.jobs.model.states import STATE_AFTER, EventType
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.foreign_events import publish_foreign
from tests.support.inspection import inspect_queue
from tests.support.lost_work import purge_work
from tests.support.shop import ACK_WAIT, Parcel, ParcelJob, Receipt, Shop, up_to
from tests.support.shop_process import shop_process

SOON: Final = timedelta(seconds=15)
LONG: Final = 60


class Position(BaseModel):
    """What a handler keeps: a model of its own, with members that are changed after they were made."""

    row: int = 0
    done: list[str] = []


async def checkpoint_reads(shop: Shop) -> list[str]:
    """Return a list that collects the reads of checkpoints that are sent from now on."""
    reads: list[str] = []
    connection = shop.jobs.runtime.connection
    connection.subscribe(
        "$JS.API.DIRECT.GET.JOBS.trellis.jobs.shop.*.*.checkpoint",
        lambda message: reads.append(message.subject),
    )
    await connection.flush()
    return reads


async def test_a_later_attempt_continues_and_the_first_one_reads_nothing(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        seen: list[Position | None] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            position = job.last_checkpoint_as(Position) or Position()
            seen.append(job.last_checkpoint_as(Position))
            position.row += 10
            position.done.append(f"attempt {job.tries}")
            await job.checkpoint(position)
            assert job.last_checkpoint == {"row": position.row, "done": position.done}
            if job.tries < 3:
                raise ConnectionError("away")
            return Receipt(total=position.row)

        reads = await checkpoint_reads(shop)
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=30)
        assert len(reads) == 2, "one for each further attempt"
        assert seen == [
            None,
            Position(row=10, done=["attempt 1"]),
            Position(row=20, done=["attempt 1", "attempt 2"]),
        ]
        snapshot = await ref.get()
        assert snapshot.last_checkpoint == {"row": 30, "done": ["attempt 1", "attempt 2", "attempt 3"]}
        attempt = ["started", "checkpoint"]
        events = [event async for event in ref.events()]
        assert [event.event for event in events] == [
            "created",
            *(*attempt, "retry"),
            *(*attempt, "retry"),
            *(*attempt, "completed"),
        ]
        assert next(event.checkpoint for event in events if event.event == "checkpoint") == {
            "row": 10,
            "done": ["attempt 1"],
        }


async def test_jobs_without_checkpoints_read_none_at_their_first_attempt(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            assert job.last_checkpoint is None
            assert job.last_checkpoint_as(Position) is None
            return Receipt(total=1)

        reads = await checkpoint_reads(shop)
        await shop.jobs.start_workers()
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(20)])
        await asyncio.gather(*(ref.result(timeout=SOON) for ref in refs))

        assert reads == []


async def test_the_job_of_a_killed_worker_continues_from_its_checkpoint(nats_server: NatsServer) -> None:
    """The newest event of the job is the checkpoint; the work message is redelivered."""
    async with Shop.connect(nats_server.url) as shop:
        async with shop_process(nats_server.url) as first:
            ref = await shop.jobs.pack.create(Parcel(number=LONG, note="checkpoint"))
            await first.wait_for("stored")
            first.process.kill()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            stored = job.last_checkpoint_as(Parcel)
            assert stored is not None
            return Receipt(total=10 * job.tries + stored.number)

        await shop.jobs.start_workers()

        assert await ref.result(timeout=SOON) == Receipt(total=21)


async def test_a_job_whose_newest_event_is_a_checkpoint_is_rescued(nats_server: NatsServer) -> None:
    maintenance = Maintenance(rescue_every=None, purge_every=None, lost_after=timedelta(0))
    async with Shop.connect(nats_server.url, options=Options(maintenance=maintenance)) as shop:
        async with shop_process(nats_server.url) as holder:
            ref = await shop.jobs.pack.create(Parcel(number=LONG, note="checkpoint"))
            await holder.wait_for("stored")
            assert (await shop.jobs.rescue_lost()).enqueued == 0
            assert (await ref.get()).state is JobState.ACTIVE
            holder.process.kill()
            await holder.process.wait()
        await purge_work(shop, 0)

        async def rescue() -> RescueReport | None:
            report = await shop.jobs.rescue_lost()
            return report if report.enqueued else None

        assert await eventually(rescue, within=ACK_WAIT + SOON) == RescueReport(examined=1, enqueued=1)

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            assert job.last_checkpoint == {"number": 1}
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        assert await ref.result(timeout=SOON) == Receipt(total=2)


async def test_a_deploy_keeps_what_a_handler_stores_at_its_end(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            try:
                await asyncio.sleep(LONG)
            finally:
                await job.checkpoint({"row": 7})
            return Receipt(total=0)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        await host.stop(grace=timedelta(milliseconds=20))
        assert (await ref.get()).tries == 0

    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack_again(job: ParcelJob) -> Receipt:
            assert job.last_checkpoint == {"row": 7}
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        assert await shop.jobs.pack.ref(ref.id).result(timeout=SOON) == Receipt(total=1)


async def test_an_operators_retry_keeps_the_checkpoint(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        is_fixed = False

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if is_fixed:
                assert job.last_checkpoint == {"attempt": 3}
                return Receipt(total=1)
            await job.checkpoint({"attempt": job.tries})
            raise ConnectionError("away")

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        assert (await ref.wait(timeout=SOON)).state is JobState.DEAD
        is_fixed = True
        await publish_foreign(shop, EventType.RETRIED, ref.id)

        assert [event.event async for event in up_to("completed", ref.events())][-1] == "completed"
        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert (await ref.get()).last_checkpoint == {"attempt": 3}


async def test_a_keyed_job_and_a_thread_store_checkpoints_too(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        seen: list[JsonValue] = []

        @shop.jobs.ship.handle
        def ship(job: ParcelJob) -> Receipt:
            seen.append(job.last_checkpoint)
            job.blocking.checkpoint({"attempt": job.tries})
            job.blocking.progress(step="shipping")
            if job.tries < 2:
                raise ConnectionError("away")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.ship.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert seen == [None, {"attempt": 1}]


async def test_an_attempt_that_is_cut_off_stores_nothing(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running, go_on, refused = asyncio.Event(), asyncio.Event(), asyncio.Event()
        errors: list[JobError] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await job.checkpoint({"row": 1})
            running.set()
            await go_on.wait()
            try:
                await job.checkpoint({"row": 2})
            except JobError as error:
                errors.append(error)
                refused.set()
                raise
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        await publish_foreign(shop, EventType.STARTED, ref.id)
        go_on.set()
        await refused.wait()

        assert "attempt 1 is over" in str(errors[0])
        assert (await ref.get()).last_checkpoint == {"row": 1}


async def test_a_cancelled_job_stores_no_checkpoint(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running = asyncio.Event()
        errors: list[JobCancelled] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await job.cancelled.wait()
            try:
                await job.checkpoint({"row": 2})
            except JobCancelled as error:
                errors.append(error)
                raise
            return Receipt(total=1)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        await ref.cancel()
        await host.stop()

        assert "its checkpoint is not stored: it was cancelled" in str(errors[0])
        assert [event.event async for event in ref.events()] == ["created", "started", "cancelled"]


async def test_what_cannot_be_stored_is_refused_with_a_reason(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await job.checkpoint("x" * (64 * 1024 - 2))
            with pytest.raises(InvalidPayload, match="65537 bytes as JSON, and 65536 are allowed"):
                await job.checkpoint("x" * (64 * 1024 - 1))
            with pytest.raises(InvalidPayload, match='a checkpoint of a job in queue "pack"'):
                await job.checkpoint({"at": timedelta(1)})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
            with pytest.raises(InvalidPayload):
                await job.checkpoint(float("nan"))
            with pytest.raises(InvalidPayload, match="should be an object"):
                job.last_checkpoint_as(Position)
            await job.checkpoint({"row": 2**60 + 1})
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert (await ref.get()).last_checkpoint == {"row": 2**60 + 1}


async def test_a_checkpoint_that_nats_did_not_take_is_an_error(nats_server: NatsServer) -> None:
    """It returns only once it is stored; a later one is stored as if nothing had happened."""
    options = Options(request_timeout=timedelta(milliseconds=300))
    async with Shop.connect(nats_server.url, options=options) as shop:
        running, go_on, refused = asyncio.Event(), asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await go_on.wait()
            with pytest.raises(TransportError):
                await job.checkpoint(1)
            refused.set()
            while job.last_checkpoint is None:
                try:
                    await job.checkpoint(2)
                except TransportError:
                    continue
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        nats_server.kill()
        go_on.set()
        await refused.wait()
        nats_server.restart()

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert (await ref.get()).last_checkpoint == 2


async def test_other_runtimes_can_read_the_newest_event_and_work_the_job(nats_server: NatsServer) -> None:
    """Rust workers read the newest event of any subject, and stop at a type they do not know (reference, 11.2)."""
    options = Options(shutdown_grace=timedelta(seconds=1))
    async with Shop.connect(nats_server.url, options=options) as shop:
        running = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await job.checkpoint({"row": 1})
            running.set()
            await asyncio.sleep(LONG)
            return Receipt(total=0)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        newest = await get_last_message(
            shop.jobs.runtime.connection, "JOBS", inspect_queue(shop.jobs.pack).subjects.job(ref.id)
        )

        assert newest is not None
        assert newest.subject == f"trellis.jobs.shop.pack.{ref.id}.checkpoint"
        body = json.loads(newest.data)
        assert (body["eventType"], body["state"], body["previousState"]) == ("logged", "active", "active")
        assert body["logs"] == []
        for kind in (EventType.STARTED, EventType.COMPLETED):
            await publish_foreign(shop, kind, ref.id)

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        snapshot = await ref.get()
        assert (snapshot.state, snapshot.last_checkpoint) == (JobState.COMPLETED, {"row": 1})
        await host.stop()


async def test_an_attempt_after_one_of_another_runtime_has_the_checkpoint(nats_server: NatsServer) -> None:
    """That runtime's `retry` says nothing about a checkpoint, so it is looked for."""
    async with Shop.connect(nats_server.url) as shop:
        async with shop_process(nats_server.url) as first:
            ref = await shop.jobs.pack.create(Parcel(number=LONG, note="checkpoint"))
            await first.wait_for("stored")
            first.process.kill()
        for kind in (EventType.STARTED, EventType.RETRY):
            await publish_foreign(shop, kind, ref.id)

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            assert job.last_checkpoint == {"number": 1}
            return Receipt(total=1)

        await shop.jobs.start_workers()
        assert await ref.result(timeout=SOON) == Receipt(total=1)


def test_a_checkpoint_leaves_its_job_active() -> None:
    assert STATE_AFTER[EventType.CHECKPOINT] is JobState.ACTIVE
