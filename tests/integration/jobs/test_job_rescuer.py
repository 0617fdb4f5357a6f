"""Lost jobs are enqueued again and run once; jobs that are not lost stay as they are."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import (
    Credentials,
    JobFailed,
    JobRetry,
    JobState,
    Maintenance,
    Options,
    PermissionDenied,
    RescueReport,
)
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.streams import get_last_message_from_leader
from trellis_nats.clock import now, timestamp
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.inspection import inspect_queue
from tests.support.lost_work import (
    connection_of,
    count_work_messages,
    detach_work,
    has_work,
    purge_work,
    recreate_work,
)
from tests.support.shop import ACK_WAIT, Parcel, ParcelJob, Receipt, Shop
from tests.support.shop_process import shop_process

SOON = timedelta(seconds=10)
AT_ONCE: Final = Maintenance(rescue_every=None, purge_every=None, lost_after=timedelta(0))
"""Searches on demand; every job without a work message counts as lost."""
NO_SECRET: Final = "none"  # noqa: S105 - not a secret


@asynccontextmanager
async def shop_of(server: NatsServer, maintenance: Maintenance = AT_ONCE) -> AsyncGenerator[Shop, None]:
    async with Shop.connect(server.url, options=Options(maintenance=maintenance)) as shop:
        yield shop


async def test_a_job_whose_work_message_was_purged_is_rescued_and_runs_once(nats_server: NatsServer) -> None:
    async with shop_of(nats_server) as shop:
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(5)])
        await purge_work(shop, 5)

        first = await shop.jobs.rescue_lost()
        again = await shop.jobs.rescue_lost()

        assert first == RescueReport(examined=5, enqueued=5)
        assert again == RescueReport(examined=5, waiting=5), "now each has a message"
        runs: list[str] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.id)
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()
        assert [await ref.result(timeout=SOON) for ref in refs] == [Receipt(total=n) for n in range(5)]
        assert sorted(runs) == sorted(ref.id for ref in refs)
        assert await shop.jobs.rescue_lost() == RescueReport()


async def test_a_rescued_message_has_the_created_event_and_its_context(
    nats_server: NatsServer,
) -> None:
    async with shop_of(nats_server) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        created = await inspect_queue(shop.jobs.pack).event_log.newest(ref.id)
        assert created is not None
        await purge_work(shop, 1)
        await shop.jobs.rescue_lost()

        work = await get_last_message_from_leader(connection_of(shop), "JOBS_WORK", "trellis.work.shop.pack")

        assert work is not None
        assert work.data == created.event.encode()
        assert work.headers == {
            "Nats-Msg-Id": f"{ref.id}.reconciled.{created.sequence}",
            "request-id": created.event.context.request_id,
            "traceparent": created.event.context.traceparent,
            "trellis-contract-digest": "x" * 43,
        }


async def test_two_concurrent_rescuers_enqueue_a_job_once(nats_server: NatsServer) -> None:
    async with shop_of(nats_server) as shop, shop_of(nats_server) as other:
        await shop.jobs.pack.create_many([Parcel(number=n) for n in range(20)])
        await purge_work(shop, 20)

        reports = await asyncio.gather(shop.jobs.rescue_lost(), other.jobs.rescue_lost())

        assert sum(report.enqueued for report in reports) == 20
        assert await count_work_messages(shop) == 20


async def test_a_job_that_was_never_sourced_is_rescued(nats_server: NatsServer) -> None:
    """As when the source of an empty work stream is detached for a while (faults.md, fact 4)."""
    async with shop_of(nats_server) as shop:
        runs: list[int] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.payload.number)
            return Receipt(total=1)

        await shop.jobs.start_workers()
        await (await shop.jobs.pack.create(Parcel(number=1))).result(timeout=SOON)
        await detach_work(shop)

        lost = await shop.jobs.pack.create(Parcel(number=2))
        report = await shop.jobs.rescue_lost()

        assert report == RescueReport(examined=1, enqueued=1)
        assert await lost.result(timeout=SOON) == Receipt(total=1)
        assert runs == [1, 2]


async def test_a_recreated_work_stream_runs_nothing_twice(nats_server: NatsServer) -> None:
    """It sources the whole history again; the job rescuer adds what is missing, and workers drop duplicates."""
    async with shop_of(nats_server) as shop:
        runs: list[int] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.payload.number)
            return Receipt(total=job.payload.number)

        host = await shop.jobs.start_workers()
        await (await shop.jobs.pack.create(Parcel(number=1))).result(timeout=SOON)
        await host.stop()
        waiting = await shop.jobs.pack.create(Parcel(number=2))
        await recreate_work(shop)
        await shop.jobs.rescue_lost()
        await shop.jobs.start_workers()

        assert await waiting.result(timeout=SOON) == Receipt(total=2)
        await eventually(lambda: has_work(shop, 0))
        assert runs == [1, 2]


@pytest.mark.parametrize("number", [2, -2])
async def test_a_running_job_without_a_message_is_not_run_twice(nats_server: NatsServer, number: int) -> None:
    """Its process is asked, and answers even while the handler blocks the event loop."""
    async with shop_of(nats_server) as shop, shop_process(nats_server.url) as holder:
        ref = await shop.jobs.pack.create(Parcel(number=number))
        await holder.wait_for("began")
        await purge_work(shop, 0)

        found = await eventually(lambda: check_old_enough(shop))

        assert found == RescueReport(examined=1, running=1)
        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert await shop.jobs.rescue_lost() == RescueReport()


async def check_old_enough(shop: Shop) -> RescueReport | None:
    """Search until the ack wait of the job is over, so that its worker is asked."""
    report = await shop.jobs.rescue_lost()
    return report if report.running or report.enqueued or not report.examined else None


async def test_an_active_job_whose_worker_and_message_are_gone_runs_again(nats_server: NatsServer) -> None:
    async with shop_of(nats_server) as shop:
        async with shop_process(nats_server.url) as holder:
            ref = await shop.jobs.pack.create(Parcel(number=60))
            await holder.wait_for("began")
            holder.process.kill()
            await holder.process.wait()
        await purge_work(shop, 0)

        found = await eventually(lambda: check_old_enough(shop), within=ACK_WAIT + SOON)

        assert found == RescueReport(examined=1, enqueued=1)

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        assert await ref.result(timeout=SOON) == Receipt(total=2), "the attempt of the dead worker counts"


async def test_a_job_whose_message_is_lost_between_two_attempts_runs_again(nats_server: NatsServer) -> None:
    """Not before the time that the handler asked for, which is longer than the queue's backoff."""
    async with shop_of(nats_server) as shop:

        @shop.jobs.pack.handle
        async def fail(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise JobRetry(after=timedelta(seconds=1))
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await eventually(lambda: is_in(shop, ref.id, JobState.RETRY))
        assert await shop.jobs.rescue_lost() == RescueReport(examined=1, waiting=1)

        await purge_work(shop, 1)
        assert await shop.jobs.rescue_lost() == RescueReport(examined=1)
        await eventually(lambda: check_old_enough(shop))

        assert await ref.result(timeout=SOON) == Receipt(total=2)


async def is_in(shop: Shop, job_id: str, state: JobState) -> bool:
    return (await shop.jobs.pack.ref(job_id).get()).state is state


async def test_jobs_that_wait_behind_others_are_not_lost(nats_server: NatsServer) -> None:
    """More jobs than one page of the work stream holds, and two lost ones between them."""
    async with shop_of(nats_server) as shop:
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(600)])
        await eventually(lambda: has_work(shop, 600))
        for sequence in (3, 500):
            await call(connection_of(shop), "STREAM.MSG.DELETE.JOBS_WORK", {"seq": sequence})

        found = await shop.jobs.rescue_lost()

        assert found == RescueReport(examined=600, waiting=598, enqueued=2)
        assert len(refs) == await count_work_messages(shop)


async def test_recent_jobs_are_not_checked(nats_server: NatsServer) -> None:
    async with shop_of(nats_server, Maintenance(rescue_every=None, purge_every=None)) as shop:
        await shop.jobs.pack.create(Parcel(number=1))
        await purge_work(shop, 1)

        assert await shop.jobs.rescue_lost() == RescueReport()


async def test_a_job_that_an_operator_retried_is_rescued_by_that_event(nats_server: NatsServer) -> None:
    async with shop_of(nats_server) as shop:
        fails = True

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if fails:
                raise JobFailed("not yet")
            return Receipt(total=job.tries)

        host = await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        failed = await ref.wait(timeout=SOON)
        await host.stop()
        history = inspect_queue(shop.jobs.pack).event_log
        created, ended = await history.newest_of(ref.id, "created"), await history.newest(ref.id)
        assert failed.state is JobState.FAILED
        assert created is not None
        assert ended is not None
        await history.append(
            created.event.model_copy(
                update={
                    "event_type": "retried",
                    "previous_state": JobState.FAILED,
                    "timestamp": timestamp(now()),
                }
            ),
            after=ended.sequence,
        )
        await purge_work(shop, 1)
        fails = False

        assert await shop.jobs.rescue_lost() == RescueReport(examined=1, enqueued=1)
        await shop.jobs.start_workers()
        assert await ref.result(timeout=SOON) == Receipt(total=1)


async def test_an_account_that_may_not_scan_gets_permission_denied() -> None:
    config = """
        accounts: { A: { jetstream: enabled, users: [
            { user: root, password: none },
            { user: worker, password: none, permissions: { publish: { deny: ["$JS.API.CONSUMER.CREATE.JOBS.>"] } } },
        ] } }
    """
    with NatsServer(config=config) as server:
        root = Options(credentials=Credentials(user="root", password=NO_SECRET))
        async with Shop.connect(server.url, options=root):
            pass
        worker = Options(credentials=Credentials(user="worker", password=NO_SECRET), maintenance=AT_ONCE)
        async with Shop.connect(server.url, options=worker) as shop:
            with pytest.raises(PermissionDenied, match=r"CONSUMER\.CREATE\.JOBS"):
                await shop.jobs.rescue_lost()
            with pytest.raises(PermissionDenied, match=r"CONSUMER\.CREATE\.JOBS"):
                await shop.jobs.purge_ended()
