"""A paused queue begins no job, in any process, until it is resumed; nothing is lost, and no attempt is used."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import timedelta
from time import monotonic
from typing import Final

import pytest
from trellis_nats import JobState, Maintenance, Options, TransportError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.pull import Delivery, Pull
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._nats.wire.message import Message
from trellis_nats.jobs.pause import pause_queue, read_pause, resume_queue
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.cargo_watch import Watch
from tests.support.cluster import running_cluster
from tests.support.delays import count_messages, held, narrow
from tests.support.eventually import eventually
from tests.support.ferry import Cargo, Ferry, Stowed
from tests.support.proxy import Proxy
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.shop_process import shop_process
from tests.support.versions import VERSIONS, binary_of

SOON: Final = timedelta(seconds=20)
PROMISED: Final = timedelta(seconds=1)
"""How soon every worker obeys."""


def connection_of(shop: Shop) -> Connection:
    return shop.jobs.runtime.connection


async def consumer(shop: Shop, queue: str = "pack") -> ConsumerInfo:
    info = await get_consumer_info(connection_of(shop), "JOBS_WORK", f"shop__{queue}")
    assert info is not None
    return info


async def all_wait(shop: Shop, count: int, queue: str = "pack") -> bool:
    """Whether so many jobs wait, and no worker asks for one.

    One that the server sent before it read that a worker does not ask any longer is given back; it counts as pending ack.
    """
    info = await consumer(shop, queue)
    # 2.10 still counts the requests of subscriptions that have ended.
    no_worker_asks = info.waiting == 0 or connection_of(shop).server_version < (2, 11, 0)
    return info.pending + info.ack_pending == count and no_worker_asks


def count_runs(shop: Shop, runs: list[str]) -> None:
    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        runs.append(job.id)
        return Receipt(total=job.tries)


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_all_workers_obey_within_a_second(version: str | None) -> None:
    binary = None if version is None else binary_of(version)
    runs: list[str] = []
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NatsServer(binary=binary))
        shops = [await stack.enter_async_context(Shop.connect(server.url)) for _ in range(3)]
        for shop in shops:
            count_runs(shop, runs)
            await shop.jobs.start_workers()
        first = shops[0]
        with LogSignals() as signals:
            began = monotonic()
            pause = await first.jobs.pack.pause(reason="the belt stands still", actor="mara")
            await signals.wait_for(LogEvent.QUEUE_PAUSED, count=3, queue="pack")
            paused_after = monotonic() - began
            refs = [await first.jobs.pack.create(Parcel(number=number)) for number in range(5)]
            await eventually(lambda: all_wait(first, 5))

            assert (pause.by, pause.reason, pause.source) == ("mara", "the belt stands still", "Python API")
            assert await shops[1].jobs.pack.paused() == pause
            assert runs == []
            assert not signals.of(LogEvent.QUEUE_PAUSED, queue="sort")
            began = monotonic()
            assert await first.jobs.pack.resume() == pause
            await signals.wait_for(LogEvent.QUEUE_RESUMED, count=3, queue="pack")
            resumed_after = monotonic() - began
        snapshots = [await ref.wait(timeout=SOON) for ref in refs]

    assert max(paused_after, resumed_after) < PROMISED.total_seconds()
    assert sorted(runs) == sorted(ref.id for ref in refs)
    assert {(snapshot.state, snapshot.tries) for snapshot in snapshots} == {(JobState.COMPLETED, 1)}


async def test_a_running_handler_ends_and_its_retry_waits(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()
        attempts: list[int] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            attempts.append(job.tries)
            running.set()
            await go_on.wait()
            if job.payload.number and job.tries == 1:
                raise ConnectionError("the belt stands still")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        failing = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        later = await shop.jobs.pack.create(Parcel(number=0))
        with LogSignals() as signals:
            await shop.jobs.pack.pause()
            await signals.wait_for(LogEvent.QUEUE_PAUSED, queue="pack")
            go_on.set()
            await signals.wait_for(LogEvent.JOB_RETRIED, job_id=failing.id)

        async def both_wait() -> bool:
            info = await consumer(shop)
            return info.pending + info.ack_pending == 2 and info.waiting == 0

        await eventually(both_wait)
        assert attempts == [1]
        assert (await failing.get()).state is JobState.RETRY
        await shop.jobs.pack.resume()

        assert (await failing.wait(timeout=SOON)).tries == 2
        assert (await later.wait(timeout=SOON)).tries == 1
        assert sorted(attempts) == [1, 1, 2]


async def test_a_job_that_waits_for_its_key_goes_back_without_an_attempt(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        watch = Watch()
        watch.works(ferry.jobs.load)
        await ferry.jobs.start_workers()
        connection = ferry.jobs.runtime.connection
        refs = [await ferry.jobs.load.create(Cargo(ship="anna", number=number)) for number in range(3)]

        async def in_hand(count: int) -> bool:
            info = await get_consumer_info(connection, "JOBS_WORK", "ferry__load")
            return info is not None and info.ack_pending == count

        await eventually(lambda: in_hand(3))
        await eventually(lambda: watch.running["anna"] == 1)
        # Without a hold at the server, another process can take what this one has given back.
        await pause_queue(connection, "ferry", "load", by="mara", source="a test", consumers=())
        returned: list[Delivery] = []
        other = Pull(connection, stream="JOBS_WORK", consumer="ferry__load", deliver=returned.append)
        other.start()
        other.set_capacity(5)
        await eventually(lambda: len(returned) == 2)
        await other.stop()
        for delivery in returned:
            assert delivery.nak_now()
        watch.go_on.set()
        assert await refs[0].result(timeout=SOON) == Stowed(number=0)
        await eventually(lambda: in_hand(2))
        assert watch.began == [0]
        more = await ferry.jobs.load.create(Cargo(ship="anna", number=3))
        await ferry.jobs.load.resume()

        waited = [await ref.wait(timeout=SOON) for ref in (*refs[1:], more)]
        assert {(snapshot.state, snapshot.tries) for snapshot in waited} == {(JobState.COMPLETED, 1)}
        assert watch.began == [0, 1, 2, 3], "in the order of their creation"
        assert watch.most == {"anna": 1}


async def test_delayed_jobs_wait_too(nats_server: NatsServer) -> None:
    runs: list[str] = []
    async with Shop.connect(nats_server.url) as shop:
        count_runs(shop, runs)
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1), delay=timedelta(milliseconds=300))

        async def is_delayed() -> bool:
            info = await consumer(shop)
            return (info.pending, info.ack_pending) == (0, 1)

        await eventually(is_delayed)
        await shop.jobs.pack.pause()
        due = monotonic() + 0.3
        await eventually(lambda: monotonic() > due)
        other = await shop.jobs.sort.create(Parcel(number=1))
        del other

        assert runs == []
        await shop.jobs.pack.resume()
        assert (await ref.result(timeout=SOON)).total == 1


async def test_parked_jobs_that_are_due_wait_too(nats_server: NatsServer) -> None:
    """They have a consumer of their own; one that waits for a free handler goes back without an attempt."""
    async with Shop.connect(nats_server.url) as shop:
        await narrow(shop)
        running, go_on = asyncio.Event(), asyncio.Event()
        runs: list[int] = []

        @shop.jobs.pack.handle(concurrency=1)
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.payload.number)
            if job.payload.number == 0:
                running.set()
                await go_on.wait()
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        parked = await shop.jobs.pack.create(Parcel(number=1), delay=timedelta(seconds=5))
        connection = connection_of(shop)

        async def is_parked() -> bool:
            return await count_messages(connection, "JOBS_DELAYED", "trellis.delayed.at.>") == 1

        async def is_in_hand() -> bool:
            return await held(shop, "JOBS_DELAYED") == 1

        await eventually(is_parked)
        busy = await shop.jobs.pack.create(Parcel(number=0))
        await running.wait()
        await eventually(is_in_hand)
        await pause_queue(connection, "shop", "pack", by="mara", source="a test", consumers=())
        returned: list[Delivery] = []
        other = Pull(connection, stream="JOBS_DELAYED", consumer="shop__pack", deliver=returned.append)
        other.start()
        other.set_capacity(5)
        await eventually(lambda: len(returned) == 1)
        await other.stop()
        assert returned[0].nak_now()
        go_on.set()
        assert (await busy.result(timeout=SOON)).total == 1
        delivered = [await get_consumer_info(connection, "JOBS_DELAYED", "shop__pack") for _ in range(50)]
        assert len({info and info.delivered for info in delivered}) == 1, "the worker asks for no due job"
        assert runs == [0]
        await shop.jobs.pack.resume()

        assert (await parked.result(timeout=SOON)).total == 1
        assert runs == [0, 1]


async def test_every_process_confirms_a_pause_with_a_heartbeat(nats_server: NatsServer) -> None:
    """One of them is killed, and another one started, while the queue is paused."""
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(Shop.connect(nats_server.url))
        said: dict[str, bool] = {}

        def receive(message: Message) -> None:
            body = json.loads(message.data)
            said[body["instanceId"]] = body["paused"]

        connection_of(shop).subscribe("trellis.jobs.workers.shop.pack.*.heartbeat", receive)
        await connection_of(shop).flush()
        workers = [await stack.enter_async_context(shop_process(nats_server.url)) for _ in range(2)]
        await eventually(lambda: list(said.values()) == [False] * 2)
        refs = [await shop.jobs.pack.create(Parcel(number=0)) for _ in range(100)]
        began = monotonic()
        await shop.jobs.pack.pause()
        await eventually(lambda: all(said.values()))
        took = monotonic() - began
        workers[0].process.kill()
        await workers[0].process.wait()
        await stack.enter_async_context(shop_process(nats_server.url))
        await eventually(lambda: len(said) == 3)
        assert all(said.values()), "the new process is paused too"
        refs += [await shop.jobs.pack.create(Parcel(number=0)) for _ in range(20)]
        await shop.jobs.pack.resume()
        await eventually(lambda: list(said.values()).count(False) == 2)
        snapshots = await asyncio.gather(*(ref.wait(timeout=SOON) for ref in refs))

    assert {snapshot.state for snapshot in snapshots} == {JobState.COMPLETED}
    assert took < PROMISED.total_seconds()


async def test_a_burst_is_worked_once_in_spite_of_pauses(nats_server: NatsServer) -> None:
    runs: list[str] = []
    async with AsyncExitStack() as stack:
        shops = [await stack.enter_async_context(Shop.connect(nats_server.url)) for _ in range(2)]
        for shop in shops:

            @shop.jobs.pack.handle(concurrency=20)
            async def pack(job: ParcelJob) -> Receipt:
                await asyncio.sleep(0)
                runs.append(job.id)
                return Receipt(total=job.tries)

            await shop.jobs.start_workers()
        shop = shops[0]
        refs = await shop.jobs.pack.create_many([Parcel(number=number) for number in range(400)])
        for done in (50, 150, 250):

            def are_done(count: int = done) -> bool:
                return len(runs) >= count

            await eventually(are_done)
            with LogSignals() as signals:
                await shop.jobs.pack.pause()
                await signals.wait_for(LogEvent.QUEUE_PAUSED, count=2, queue="pack")

                async def is_quiet() -> bool:
                    info = await consumer(shop)
                    return info.pending + info.ack_pending + len(runs) == 400 and info.waiting == 0

                await eventually(is_quiet)
                await shop.jobs.pack.resume()
        await eventually(lambda: len(runs) >= 400, within=timedelta(seconds=60))
        snapshots = await asyncio.gather(*(ref.wait(timeout=SOON) for ref in refs))

    assert sorted(runs) == sorted(ref.id for ref in refs)
    assert {(snapshot.state, snapshot.tries) for snapshot in snapshots} == {(JobState.COMPLETED, 1)}


async def test_a_worker_that_starts_while_the_queue_is_paused_takes_nothing(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        async with shop_process(nats_server.url) as worker:
            held = await shop.jobs.pack.create(Parcel(number=60))
            await worker.wait_for("began")
            await shop.jobs.pack.pause(reason="a release")
            worker.process.kill()
            await worker.process.wait()
        waiting = await shop.jobs.pack.create(Parcel(number=0))
        async with shop_process(nats_server.url) as again:
            # The other queues of the process are worked: it has started.
            async def ack_wait_is_over() -> bool:
                info = await consumer(shop)
                return (info.pending, info.waiting) == (1, 0)

            await eventually(ack_wait_is_over)
            assert (await held.get()).tries == 1
            await held.cancel()
            began = monotonic()
            await shop.jobs.pack.resume()
            job_id, attempt = await again.wait_for("began")
            took = monotonic() - began

            assert (job_id, attempt) == (waiting.id, "1")
            assert took < PROMISED.total_seconds()


async def test_a_pause_survives_a_restart_of_the_server(nats_server: NatsServer) -> None:
    runs: list[str] = []
    async with Shop.connect(nats_server.url) as shop:
        count_runs(shop, runs)
        await shop.jobs.start_workers()
        pause = await shop.jobs.pack.pause(actor="mara")
        with LogSignals() as signals:
            nats_server.kill()
            nats_server.restart()
            await signals.wait_for(LogEvent.CONNECTION_RESTORED)
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await eventually(lambda: all_wait(shop, 1))

            assert await shop.jobs.pack.paused() == pause
            assert runs == []
            await shop.jobs.pack.resume()
            assert (await ref.result(timeout=SOON)).total == 1


async def test_a_change_during_an_outage_is_read_after_it(nats_server: NatsServer) -> None:
    """Long before the next regular read: what was announced meanwhile did not reach the worker."""
    async with (
        Proxy(nats_server.port) as proxy,
        Shop.connect(proxy.url) as shop,
        Shop.connect(nats_server.url) as operator,
    ):
        count_runs(shop, [])
        await shop.jobs.start_workers()
        with LogSignals() as signals:
            proxy.blackhole()
            proxy.cut()
            await signals.wait_for(LogEvent.CONNECTION_LOST)
            await operator.jobs.pack.pause()
            proxy.heal()
            await signals.wait_for(LogEvent.CONNECTION_RESTORED)
            back = monotonic()
            await signals.wait_for(LogEvent.QUEUE_PAUSED, queue="pack")

    assert monotonic() - back < 5, "the record is read every 15 s in any case"


async def test_a_paused_worker_is_healthy_and_says_why(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        count_runs(shop, [])
        await shop.start()
        assert shop.metrics().value("trellis_queue_paused", queue="pack") == 0
        with LogSignals() as signals:
            await shop.jobs.pack.pause(reason="a release", actor="mara")
            await signals.wait_for(LogEvent.QUEUE_PAUSED, queue="pack")
            report = await shop.health.report()
            check = next(check for check in report.checks if check.name == "jobs.pack")

            assert report.ready
            assert not report.problems
            assert check.ok
            assert check.summary is not None
            assert check.summary.startswith("paused by mara since ")
            assert check.summary.endswith(": a release")
            assert shop.metrics().value("trellis_queue_paused", queue="pack") == 1
            assert not signals.of(LogEvent.CONSUMER_BLOCKED)
            await shop.jobs.pack.resume()
            await signals.wait_for(LogEvent.QUEUE_RESUMED, queue="pack")
        report = await shop.health.report()
        assert [check.summary for check in report.checks if check.name == "jobs.pack"] == [None]
        assert not report.problems
        assert shop.metrics().value("trellis_queue_paused", queue="pack") == 0


async def test_a_cluster_pauses_workers_on_every_node() -> None:
    async with running_cluster() as cluster, AsyncExitStack() as stack:
        options = Options(replicas=3, maintenance=Maintenance(rescue_every=None, purge_every=None))
        runs: list[str] = []
        shops = [
            await stack.enter_async_context(Shop.connect(server.url, options=options))
            for server in cluster.servers.values()
        ]
        for shop in shops:
            count_runs(shop, runs)
            await shop.jobs.start_workers()
        with LogSignals() as signals:
            began = monotonic()
            await pause_queue(connection_of(shops[0]), "shop", "pack", by="mara", source="a test")
            await signals.wait_for(LogEvent.QUEUE_PAUSED, count=3, queue="pack")
            paused_after = monotonic() - began
            ref = await shops[1].jobs.pack.create(Parcel(number=1))
            await eventually(lambda: all_wait(shops[1], 1))
            assert await read_pause(connection_of(shops[2]), "shop", "pack") is not None
            await resume_queue(connection_of(shops[1]), "shop", "pack")
            await signals.wait_for(LogEvent.QUEUE_RESUMED, count=3, queue="pack")
        assert (await ref.result(timeout=SOON)).total == 1

    assert paused_after < PROMISED.total_seconds()
    assert runs == [ref.id]


async def test_the_limit_of_a_request_is_that_of_a_pause_too(nats_server: NatsServer) -> None:
    hasty = Options(request_timeout=timedelta(milliseconds=200))
    async with Proxy(nats_server.port) as proxy, Shop.connect(proxy.url, options=hasty) as shop:
        assert await shop.jobs.pack.paused() is None
        proxy.blackhole()
        for steer in (shop.jobs.pack.pause, shop.jobs.pack.resume, shop.jobs.pack.paused):
            with pytest.raises(TransportError):
                async with asyncio.timeout(3):  # the default of one request is 5 s
                    await steer()
        proxy.heal()
