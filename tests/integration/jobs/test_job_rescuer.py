"""Lost jobs are found and run once; what is not lost is left alone."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import (
    Credentials,
    Duties,
    JobFailed,
    JobRetry,
    JobState,
    Options,
    PermissionDenied,
    ReconcileReport,
)
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.streams import leader_last_message
from trellis_nats.clock import now, timestamp
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
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
AT_ONCE: Final = Duties(reconcile_every=None, purge_every=None, lost_after=timedelta(0))
"""Only on demand, and whatever has no message is lost."""
NO_SECRET: Final = "none"  # noqa: S105 - as it says


@asynccontextmanager
async def shop_of(server: NatsServer, duties: Duties = AT_ONCE) -> AsyncGenerator[Shop, None]:
    async with Shop.connect(server.url, options=Options(duties=duties)) as shop:
        yield shop


async def test_a_job_whose_work_message_was_purged_is_found_and_run_once(nats_server: NatsServer) -> None:
    async with shop_of(nats_server) as shop:
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(5)])
        await purge_work(shop, 5)

        first = await shop.jobs.reconcile()
        again = await shop.jobs.reconcile()

        assert first == ReconcileReport(examined=5, enqueued=5)
        assert again == ReconcileReport(examined=5, waiting=5), "now each has a message"
        assert shop.jobs.last_reconcile == again
        runs: list[str] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.id)
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()
        assert [await ref.result(timeout=SOON) for ref in refs] == [Receipt(total=n) for n in range(5)]
        assert sorted(runs) == sorted(ref.id for ref in refs)
        assert await shop.jobs.reconcile() == ReconcileReport()


async def test_what_is_enqueued_again_carries_the_created_event_and_its_context(
    nats_server: NatsServer,
) -> None:
    async with shop_of(nats_server) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        created = await shop.jobs.pack.access.event_log.newest(ref.id)
        assert created is not None
        await purge_work(shop, 1)
        await shop.jobs.reconcile()

        work = await leader_last_message(connection_of(shop), "JOBS_WORK", "trellis.work.shop.pack")

        assert work is not None
        assert work.data == created.event.encode()
        assert work.headers == {
            "Nats-Msg-Id": f"{ref.id}.reconciled.{created.sequence}",
            "request-id": created.event.context.request_id,
            "traceparent": created.event.context.traceparent,
        }


async def test_two_reconcilers_at_once_enqueue_a_job_once(nats_server: NatsServer) -> None:
    async with shop_of(nats_server) as shop, shop_of(nats_server) as other:
        await shop.jobs.pack.create_many([Parcel(number=n) for n in range(20)])
        await purge_work(shop, 20)

        reports = await asyncio.gather(shop.jobs.reconcile(), other.jobs.reconcile())

        assert sum(report.enqueued for report in reports) == 20
        assert await count_work_messages(shop) == 20


async def test_a_job_that_was_never_sourced_is_found_and_run(nats_server: NatsServer) -> None:
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
        report = await shop.jobs.reconcile()

        assert report == ReconcileReport(examined=1, enqueued=1)
        assert await lost.result(timeout=SOON) == Receipt(total=1)
        assert runs == [1, 2]


async def test_a_work_stream_that_was_made_anew_runs_nothing_twice(nats_server: NatsServer) -> None:
    """It replays the whole history by itself; the reconciler adds what is missing, and workers drop the rest."""
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
        await shop.jobs.reconcile()
        await shop.jobs.start_workers()

        assert await waiting.result(timeout=SOON) == Receipt(total=2)
        await eventually(lambda: has_work(shop, 0))
        assert runs == [1, 2]


@pytest.mark.parametrize("number", [2, -2])
async def test_a_running_job_without_a_message_is_not_run_twice(nats_server: NatsServer, number: int) -> None:
    """Its process is asked, and answers although the handler may block the event loop."""
    async with shop_of(nats_server) as shop, shop_process(nats_server.url) as holder:
        ref = await shop.jobs.pack.create(Parcel(number=number))
        await holder.wait_for("began")
        await purge_work(shop, 0)

        found = await eventually(lambda: looked_at(shop))

        assert found == ReconcileReport(examined=1, running=1)
        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert await shop.jobs.reconcile() == ReconcileReport()


async def looked_at(shop: Shop) -> ReconcileReport | None:
    """Reconcile until the job's ack wait is over, so that it is asked about."""
    report = await shop.jobs.reconcile()
    return report if report.running or report.enqueued or not report.examined else None


async def test_an_active_job_whose_worker_and_message_are_gone_runs_again(nats_server: NatsServer) -> None:
    async with shop_of(nats_server) as shop:
        async with shop_process(nats_server.url) as holder:
            ref = await shop.jobs.pack.create(Parcel(number=60))
            await holder.wait_for("began")
            holder.process.kill()
            await holder.process.wait()
        await purge_work(shop, 0)

        found = await eventually(lambda: looked_at(shop), within=ACK_WAIT + SOON)

        assert found == ReconcileReport(examined=1, enqueued=1)

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        assert await ref.result(timeout=SOON) == Receipt(total=2), "the try that died counts"


async def test_a_job_whose_message_vanished_between_two_tries_runs_again(nats_server: NatsServer) -> None:
    """A longer wait than the queue's backoff, which the handler asked for, is cut short then."""
    async with shop_of(nats_server) as shop:

        @shop.jobs.pack.handle
        async def fail(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise JobRetry(after=timedelta(hours=1))
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await eventually(lambda: is_in(shop, ref.id, JobState.RETRY))
        await eventually(lambda: rests(shop))
        assert await shop.jobs.reconcile() == ReconcileReport(examined=1, waiting=1)

        await purge_work(shop, 1)
        await eventually(lambda: looked_at(shop))

        assert await ref.result(timeout=SOON) == Receipt(total=2)


async def is_in(shop: Shop, job_id: str, state: JobState) -> bool:
    return (await shop.jobs.pack.ref(job_id).get()).state is state


async def rests(shop: Shop) -> bool:
    """Say whether the backoff of the job that is waiting is over, for the reconciler."""
    return (await shop.jobs.reconcile()).waiting == 1


async def test_jobs_that_wait_behind_others_are_not_lost(nats_server: NatsServer) -> None:
    """More of them than one page of the work stream holds, and two that are really lost between them."""
    async with shop_of(nats_server) as shop:
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(600)])
        await eventually(lambda: has_work(shop, 600))
        for sequence in (3, 500):
            await call(connection_of(shop), "STREAM.MSG.DELETE.JOBS_WORK", {"seq": sequence})

        found = await shop.jobs.reconcile()

        assert found == ReconcileReport(examined=600, waiting=598, enqueued=2)
        assert len(refs) == await count_work_messages(shop)


async def test_jobs_of_the_last_moment_are_left_alone(nats_server: NatsServer) -> None:
    async with shop_of(nats_server, Duties(reconcile_every=None, purge_every=None)) as shop:
        await shop.jobs.pack.create(Parcel(number=1))
        await purge_work(shop, 1)

        assert await shop.jobs.reconcile() == ReconcileReport()


async def test_a_job_that_an_operator_sent_again_is_found_by_that_event(nats_server: NatsServer) -> None:
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
        history = shop.jobs.pack.access.event_log
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

        assert await shop.jobs.reconcile() == ReconcileReport(examined=1, enqueued=1)
        await shop.jobs.start_workers()
        assert await ref.result(timeout=SOON) == Receipt(total=1)


async def test_an_account_that_may_not_list_is_told_so() -> None:
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
        worker = Options(credentials=Credentials(user="worker", password=NO_SECRET), duties=AT_ONCE)
        async with Shop.connect(server.url, options=worker) as shop:
            with pytest.raises(PermissionDenied, match=r"CONSUMER\.CREATE\.JOBS"):
                await shop.jobs.reconcile()
            with pytest.raises(PermissionDenied, match=r"CONSUMER\.CREATE\.JOBS"):
                await shop.jobs.purge_ended()
