"""What a service's own code does as an operator: refs, dead jobs, and the counts of a queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final, Literal

import pytest
from trellis_nats import (
    ActionRefused,
    ConfigurationError,
    JobState,
    Options,
    PermissionDenied,
    QueueStats,
    permissions,
)
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.jobs.model.states import EventType
from trellis_nats.permissions import VIEWER_INBOX
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.delays import servers_of
from tests.support.depot import accounts, login
from tests.support.eventually import eventually
from tests.support.foreign_events import publish_foreign
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.versions import VERSIONS

SOON: Final = timedelta(seconds=20)


@pytest.fixture(params=[*VERSIONS, None], ids=[*VERSIONS, "newest"])
def server(request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    yield from servers_of(request)


async def admin_of(shop: Shop, job_id: str, queue: str = "pack") -> object:
    found = await get_last_message(
        shop.jobs.runtime.connection, "JOBS", f"trellis.jobs.shop.{queue}.{job_id}.>"
    )
    assert found is not None
    return json.loads(found.data).get("adminAction")


async def bury(shop: Shop, number: int = 1, queue: str = "pack") -> str:
    """Create a job that died."""
    create = shop.jobs.pack.create if queue == "pack" else shop.jobs.charge.create
    ref = await create(Parcel(number=number))
    for kind in (EventType.STARTED, EventType.DEAD):
        await publish_foreign(shop, kind, ref.id, queue=queue)
    return ref.id


async def waiting(shop: Shop, number: int) -> QueueStats:
    """Return the counts of queue `pack` once so many jobs wait: the server copies a job to the work stream a moment later."""

    async def count() -> QueueStats | None:
        stats = await shop.jobs.pack.stats()
        return stats if stats.waiting == number else None

    found = await eventually(count)
    assert found is not None
    return found


async def test_a_failed_and_a_dead_job_are_retried_through_their_refs(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        dead = shop.jobs.pack.ref(await bury(shop, 5))
        snapshot = await dead.retry(reason="it works again", actor="anna")
        assert (snapshot.state, snapshot.tries, snapshot.payload) == (JobState.PENDING, 0, Parcel(number=5))
        assert await admin_of(shop, dead.id) == {
            "reason": "it works again",
            "actor": "anna",
            "source": "Python API",
        }
        with pytest.raises(ActionRefused, match="it had been sent again"):
            await dead.retry()
        failed = await shop.jobs.pack.create(Parcel(number=6))
        for kind in (EventType.STARTED, EventType.FAILED):
            await publish_foreign(shop, kind, failed.id)
        await failed.retry()

        await shop.jobs.start_workers()
        assert await dead.result(timeout=SOON) == Receipt(total=5)
        assert await failed.result(timeout=SOON) == Receipt(total=6)
        with pytest.raises(ActionRefused, match="only one in state failed or dead"):
            await dead.retry()


async def test_a_cancellation_names_its_actor_where_there_is_one(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        first, second = await shop.jobs.pack.create_many([Parcel(number=1), Parcel(number=2)])
        assert (await first.cancel("not wanted")).last_error == "not wanted"
        assert (await second.cancel("not wanted", actor="anna")).last_error == "not wanted"
        assert await admin_of(shop, first.id) is None
        assert await admin_of(shop, second.id) == {
            "reason": "not wanted",
            "actor": "anna",
            "source": "Python API",
        }
        with pytest.raises(ConfigurationError, match="actor: a text is expected"):
            await first.cancel("x", actor=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_dead_job_is_dismissed(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = shop.jobs.pack.ref(await bury(shop))
        snapshot = await ref.dismiss(reason="the order is void", actor="anna")
        assert (snapshot.state, snapshot.last_error) == (JobState.DISMISSED, "the order is void")
        with pytest.raises(ActionRefused, match="it had been dismissed"):
            await ref.dismiss()
        with pytest.raises(ActionRefused, match="it had been dismissed"):
            await ref.retry()


async def test_a_dead_job_is_replayed_with_another_payload(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = shop.jobs.pack.ref(await bury(shop))
        new = await ref.replay_edited(Parcel(number=9), reason="wrong number", request_id="r")
        assert (await new.get()).payload == Parcel(number=9)
        assert (await ref.get()).state is JobState.DISMISSED
        assert (await ref.replay_edited(Parcel(number=9), request_id="r")).id == new.id
        with pytest.raises(ActionRefused, match=f"job {new.id} had replaced it"):
            await ref.replay_edited(Parcel(number=9))


async def test_the_dead_jobs_of_a_service(server: NatsServer) -> None:
    async with Shop.connect(server.url) as shop:
        job_ids = [await bury(shop, number) for number in range(40)]
        other = await bury(shop, 100, "charge")
        await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.pack.ref(job_ids[3]).dismiss()
        await shop.jobs.pack.ref(job_ids[4]).retry()
        await shop.jobs.pack.ref(job_ids[5]).retry()
        for kind in (EventType.STARTED, EventType.DEAD):
            await publish_foreign(shop, kind, job_ids[5])

        found = [job async for job in shop.jobs.pack.dead()]
        still = [job_id for job_id in job_ids if job_id not in job_ids[3:6]]
        assert [job.ref.id for job in found] == [*still, job_ids[5]], "the oldest death first"
        assert [job.snapshot.payload.number for job in found[:3]] == [0, 1, 2]
        everywhere = [(job.ref.queue, job.ref.id) async for job in shop.jobs.dead()]
        assert everywhere == [*(("pack", job.ref.id) for job in found), ("charge", other)]


async def test_a_dead_job_is_replayed_as_it_was_seen(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        first, second = await bury(shop, 1), await bury(shop, 2)
        jobs = {job.ref.id: job async for job in shop.jobs.pack.dead()}
        await shop.jobs.pack.ref(second).retry()
        for kind in (EventType.STARTED, EventType.DEAD):
            await publish_foreign(shop, kind, second)
        for act in (jobs[second].replay, jobs[second].dismiss):
            with pytest.raises(ActionRefused, match="after it was looked at"):
                await act()

        await shop.jobs.start_workers()
        assert await (await jobs[first].replay(reason="again")).result(timeout=SOON) == Receipt(total=1)
        seen = [job async for job in shop.jobs.pack.dead()]
        await seen[0].dismiss(reason="no")
        assert [job async for job in shop.jobs.pack.dead()] == []


async def test_a_dead_job_that_cannot_be_read_is_left_out_with_a_warning(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        broken, whole = await bury(shop), await bury(shop)
        await publish_acked(
            shop.jobs.runtime.connection, f"trellis.jobs.shop.pack.{broken}.dead", b"{", headers={}
        )
        with LogSignals() as signals:
            assert [job.ref.id async for job in shop.jobs.pack.dead()] == [whole]
        assert len(signals.of(LogEvent.JOB_UNREADABLE, job_id=broken)) == 1


async def test_the_counts_of_a_queue(server: NatsServer) -> None:
    async with Shop.connect(server.url) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle(concurrency=1)
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await go_on.wait()
            return Receipt(total=1)

        assert await shop.jobs.pack.stats() == QueueStats(
            waiting=0, oldest_waiting=None, delivered=0, parked=0, dead=0
        )
        await bury(shop)
        await shop.jobs.pack.create(Parcel(number=2))
        stats = await waiting(shop, 2)
        assert stats.dead == 1, "no worker has removed its message"
        first = (await shop.jobs.pack.stats()).oldest_waiting
        assert first is not None
        later = (await shop.jobs.pack.stats()).oldest_waiting
        assert later is not None
        assert later > first > timedelta(0)

        host = await shop.jobs.start_workers()
        await running.wait()
        await shop.jobs.pack.create_many([Parcel(number=n) for n in range(5)])

        async def are_counted() -> bool:
            stats = await shop.jobs.pack.stats()
            return stats.delivered >= 1 and stats.delivered + stats.waiting == 6

        await eventually(are_counted)
        go_on.set()

        async def is_empty() -> bool:
            stats = await shop.jobs.pack.stats()
            return (stats.waiting, stats.delivered, stats.parked, stats.dead) == (0, 0, 0, 1)

        await eventually(is_empty)
        await host.stop()


async def test_a_job_with_a_long_delay_is_parked(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        await shop.jobs.pack.create(Parcel(number=1), delay=timedelta(hours=1))

        async def is_parked() -> bool:
            stats = await shop.jobs.pack.stats()
            return (stats.waiting, stats.delivered, stats.parked) == (0, 0, 1)

        await eventually(is_parked)


async def test_an_account_of_a_worker_counts_what_it_may() -> None:
    users = {"root": None, "worker": permissions(Shop, "worker")}
    with NatsServer(config=accounts(users)) as server:
        async with Shop.connect(server.url, options=login("root")) as root:
            await bury(root)
        options: Options = login("worker")
        async with Shop.connect(server.url, options=options) as shop:
            stats = await waiting(shop, 1)
            assert (stats.oldest_waiting, stats.delivered, stats.parked, stats.dead) == (None, 0, None, None)
            with pytest.raises(PermissionDenied, match=r"CONSUMER\.CREATE\.JOBS"):
                await anext(shop.jobs.pack.dead())
            job_id = (await shop.jobs.pack.create(Parcel(number=1))).id
            for kind in (EventType.STARTED, EventType.DEAD):
                await publish_foreign(shop, kind, job_id)
            await shop.jobs.pack.ref(job_id).retry()


@pytest.mark.parametrize("role", ["operator", "viewer"])
async def test_an_operator_counts_and_acts_and_a_viewer_only_looks(
    role: Literal["operator", "viewer"],
) -> None:
    users = {"root": None, role: permissions(Shop, role)}
    with NatsServer(config=accounts(users)) as server:
        async with Shop.connect(server.url, options=login("root")) as root:
            job_ids = [await bury(root), await bury(root)]
            await waiting(root, 2)
        inbox = {"viewer": VIEWER_INBOX}.get(role)
        async with Shop.connect(server.url, options=replace(login(role), inbox_prefix=inbox)) as shop:
            stats = await shop.jobs.pack.stats()
            assert (stats.waiting, stats.delivered, stats.parked, stats.dead) == (2, 0, 0, 2)
            assert (stats.oldest_waiting is None) == (role == "viewer"), "the work stream holds payloads"
            dead = [job async for job in shop.jobs.dead()]
            assert [job.ref.id for job in dead] == job_ids
            if role == "operator":
                await dead[0].replay()
                await dead[1].dismiss()
                return
            for act in (dead[0].replay, dead[0].dismiss, dead[0].ref.retry):
                with pytest.raises(PermissionDenied, match="publish to"):
                    await act()
            assert [job.ref.id async for job in shop.jobs.dead()] == job_ids
