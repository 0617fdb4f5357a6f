"""What becomes of jobs on which an operator has acted: they run, stop, and free their keys."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Final

from trellis_nats import JobState
from trellis_nats._nats.jetstream.streams import StoredMessage, get_last_message, purge_stream
from trellis_nats.jobs.actions.job_actions import JobActions, job_actions
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.raw_members import raw_members
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import publish_foreign
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=20)
ANNA: Final = AdminAction(actor="anna", reason="the printer works again")


def actions_of(shop: Shop, queue: str = "pack") -> JobActions:
    return job_actions(shop.jobs.runtime.connection, f"trellis.jobs.shop.{queue}")


async def newest(shop: Shop, job_id: str, event: str, queue: str) -> StoredMessage:
    found = await get_last_message(
        shop.jobs.runtime.connection, "JOBS", f"trellis.jobs.shop.{queue}.{job_id}.{event}"
    )
    assert found is not None
    return found


async def test_a_replayed_job_runs_with_all_its_attempts_and_completes(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        is_broken = True
        tried: list[int] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            tried.append(job.tries)
            if is_broken:
                raise ConnectionError("the printer is off")
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=2**53 + 1), idempotency_key="order-1")
        assert (await ref.wait(timeout=SOON)).state is JobState.DEAD

        await actions_of(shop).replay(ref.id, ANNA)
        assert (await ref.wait(timeout=SOON)).tries == 3
        is_broken = False
        await actions_of(shop).replay(ref.id, ANNA)

        assert await ref.result(timeout=SOON) == Receipt(total=2**53 + 1)
        assert tried == [1, 2, 3, 1, 2, 3, 1]
        again = await shop.jobs.pack.create(Parcel(number=1), idempotency_key="order-1")
        assert again.id == ref.id, "the idempotency key still names the job"


async def test_a_handler_that_runs_sees_that_its_job_is_cancelled(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running = asyncio.Event()
        ended = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await job.cancelled.wait()
            ended.set()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        done = await actions_of(shop).cancel(ref.id, ANNA)
        assert done.previous is JobState.ACTIVE
        async with asyncio.timeout(SOON.total_seconds()):
            await ended.wait()
        assert (await ref.get()).state is JobState.CANCELLED


async def test_a_keyed_job_that_is_cancelled_frees_its_place(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.ship.create(Parcel(number=1))
        await actions_of(shop, "ship").cancel(ref.id, ANNA)
        record = await get_last_message(
            shop.jobs.runtime.connection, "KV_JOBS_KEYS_shop", "$KV.JOBS_KEYS_shop.shop.ship.>"
        )
        assert record is not None
        stored = json.loads(record.data)
        assert (stored["queued"], stored["maxActive"], stored["maxQueuedPerKey"]) == ([], 1, 0)
        await shop.jobs.ship.create(Parcel(number=1))


async def test_a_keyed_job_that_is_retried_waits_for_its_key_and_runs(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ran: list[str] = []
        running, go_on = asyncio.Event(), asyncio.Event()

        @shop.jobs.ship.handle(concurrency=2)
        async def ship(job: ParcelJob) -> Receipt:
            ran.append(job.id)
            running.set()
            await go_on.wait()
            return Receipt(total=1)

        failed = await shop.jobs.ship.create(Parcel(number=1))
        key = raw_members((await newest(shop, failed.id, "created", "ship")).data)["concurrency"]
        for kind in (EventType.STARTED, EventType.FAILED):
            await publish_foreign(shop, kind, failed.id, queue="ship")
        await shop.jobs.ship.ref(failed.id).release_key()
        holder = await shop.jobs.ship.create(Parcel(number=1))  # the key has no room for another job now
        await shop.jobs.start_workers()
        await running.wait()

        await actions_of(shop, "ship").retry(failed.id, ANNA)
        retried = raw_members((await newest(shop, failed.id, "retried", "ship")).data)
        assert json.loads(retried["concurrency"]) == json.loads(key)
        assert ran == [holder.id], "the key has one slot"
        go_on.set()
        assert await failed.result(timeout=SOON) == Receipt(total=1)
        assert ran == [holder.id, failed.id]


async def test_a_job_that_is_replayed_while_its_history_is_purged_is_still_one(
    nats_server: NatsServer,
) -> None:
    """The cleaner purges what it read before the replay: the `retried` event stays, and has all that the job needs."""
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        ref = await shop.jobs.pack.create(Parcel(number=7))
        for kind in (EventType.STARTED, EventType.DEAD):
            await publish_foreign(shop, kind, ref.id)
        dead = await newest(shop, ref.id, "dead", "pack")
        await ref.retry()
        history = f"trellis.jobs.shop.pack.{ref.id}.>"
        await purge_stream(shop.jobs.runtime.connection, "JOBS", history, up_to=dead.sequence)

        snapshot = await ref.get()
        assert (snapshot.state, snapshot.payload) == (JobState.PENDING, Parcel(number=7))
        await shop.jobs.start_workers()
        assert await ref.result(timeout=SOON) == Receipt(total=7)
        assert (await ref.wait(timeout=SOON)).state is JobState.COMPLETED
        async with asyncio.timeout(SOON.total_seconds()):
            events = [event.event async for event in ref.events()]
        assert events == ["retried", "started", "completed"]
