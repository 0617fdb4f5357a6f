"""The duties of a fleet on a real server: overdue jobs expire, and what a foreign consumer gave up is dead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import pytest
from pydantic import JsonValue
from trellis_admin.audit_log.resources import open_admin_bucket
from trellis_admin.duties import (
    AdvisoryResult,
    DutyOptions,
    FleetDuties,
    JobPlace,
    OverdueExpirer,
    OverdueResult,
    UndeliveredBurier,
)
from trellis_nats import JobState
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.pull import Delivery, Pull
from trellis_nats._nats.jetstream.streams import (
    create_consumer,
    delete_consumer,
    get_consumer_info,
    get_last_message,
)
from trellis_nats.clock import now, timestamp
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.duties_process import duties_process
from tests.support.eventually import eventually
from tests.support.foreign_events import publish_foreign
from tests.support.lost_work import connection_of
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.shop_process import shop_process
from tests.support.versions import VERSIONS, binary_of

SOON: Final = timedelta(seconds=30)
PROMPT: Final = DutyOptions(
    every=timedelta(milliseconds=50), grace=timedelta(0), lease=timedelta(milliseconds=900)
)
PAST: Final = {"deadline": "2026-11-29T14:06:27.000Z"}
JOB: Final = "01M8KT1SQRNGY82PMCC50CW60P"


class Overdue:
    """Finds the jobs that the test names."""

    def __init__(self, *job_ids: str, queue: str = "pack") -> None:
        self.before: datetime | None = None
        self.places = [JobPlace(f"trellis.jobs.shop.{queue}", job_id) for job_id in job_ids]

    async def __call__(self, before: datetime, limit: int) -> Sequence[JobPlace]:
        self.before = before
        return self.places[:limit]


async def history(shop: Shop, job_id: str) -> list[str]:
    return [event.event async for event in shop.jobs.pack.ref(job_id).events()]


def expirer(shop: Shop, *job_ids: str, grace: timedelta = timedelta(0)) -> OverdueExpirer:
    return OverdueExpirer(connection_of(shop), Overdue(*job_ids), grace=grace)


async def newest(shop: Shop, job_id: str) -> LifecycleEvent:
    message = await get_last_message(connection_of(shop), "JOBS", f"trellis.jobs.shop.pack.{job_id}.>")
    assert message is not None
    event = LifecycleEvent.parse(message.data)
    assert event is not None
    return event


async def test_an_overdue_job_of_a_queue_without_workers_expires(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await publish_foreign(shop, EventType.CREATED, JOB, PAST)
        report = await expirer(shop, JOB).run()
        event = await newest(shop, JOB)
        snapshot = await shop.jobs.pack.ref(JOB).get()

    assert report.expired == 1
    assert snapshot.state is JobState.EXPIRED
    assert (event.event_type, event.state, event.previous_state) == ("expired", "expired", "pending")
    assert (event.tries, event.error) == (0, "job exceeded deadline")
    assert event.context.request_id == "01M8KT1SQRNQ61FVVWXTVD0ATW"


async def test_workers_come_first_within_the_grace(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await publish_foreign(shop, EventType.CREATED, JOB, {"deadline": timestamp(now())})
        overdue = Overdue(JOB)
        report = await OverdueExpirer(connection_of(shop), overdue, grace=timedelta(minutes=1)).run()

    assert report.results == {OverdueResult.NOT_DUE: 1}
    assert overdue.before is not None
    assert abs(now() - overdue.before - timedelta(minutes=1)) < timedelta(seconds=30)


async def test_a_job_that_ended_or_was_purged_is_left_alone(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await publish_foreign(shop, EventType.CREATED, JOB, PAST)
        await publish_foreign(shop, EventType.CANCELLED, JOB)
        report = await expirer(shop, JOB, "purged").run()

    assert report.results == {OverdueResult.ENDED: 2}


async def test_a_job_of_another_runtime_that_is_active_expires(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await publish_foreign(shop, EventType.CREATED, JOB, PAST)
        await publish_foreign(shop, EventType.STARTED, JOB)
        report = await expirer(shop, JOB).run()
        event = await newest(shop, JOB)

    assert report.expired == 1
    assert (event.previous_state, event.tries) == ("active", 1)


async def test_a_running_handler_is_not_stopped_and_a_killed_one_is_expired(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, shop_process(nats_server.url) as worker:
        ref = await shop.jobs.pack.create(Parcel(number=600), deadline=timedelta(seconds=3))
        await worker.wait_for("began")

        deadline = (await ref.get()).deadline
        assert deadline is not None
        duty = expirer(shop, ref.id)
        await eventually(lambda: now() > deadline, within=SOON)
        assert (await duty.run()).results == {OverdueResult.RUNNING: 1}

        worker.process.kill()
        await worker.process.wait()

        async def is_expired() -> bool:
            await duty.run()
            return (await ref.get()).state is JobState.EXPIRED

        await eventually(is_expired, within=SOON)


async def test_what_another_writer_stores_first_wins(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        for number in range(20):
            await publish_foreign(shop, EventType.CREATED, f"job{number}", PAST)
        ids = [f"job{number}" for number in range(20)]
        reports = await asyncio.gather(*(expirer(shop, *ids).run() for _ in range(4)))
        cancelled = await asyncio.gather(*(shop.jobs.pack.ref(job_id).cancel() for job_id in ids))
        histories = [await history(shop, job_id) for job_id in ids]

    assert sum(report.expired for report in reports) == 20
    assert {snapshot.state for snapshot in cancelled} == {JobState.EXPIRED}
    assert histories == [["created", "expired"]] * 20


async def test_a_run_stops_when_it_may_not_continue(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await publish_foreign(shop, EventType.CREATED, JOB, PAST)
        report = await expirer(shop, JOB).run(lambda: False)
        assert report.expired == 0


# --- advisories ----------------------------------------------------------------------------------------------------------


class Foreign(NamedTuple):
    """What another runtime pulls and never acknowledges."""

    received: list[Delivery]
    pull: Pull


@asynccontextmanager
async def foreign_consumer(
    shop: Shop, *, max_deliver: int = 2, ack_wait: timedelta = timedelta(milliseconds=100)
) -> AsyncGenerator[Foreign, None]:
    """Replace the consumer of the queue by one with a limit, and pull from it without ever acknowledging."""
    connection = connection_of(shop)
    await delete_consumer(connection, "JOBS_WORK", "shop__pack")
    await create_foreign(connection, max_deliver, ack_wait)
    received: list[Delivery] = []
    pull = Pull(connection, stream="JOBS_WORK", consumer="shop__pack", deliver=received.append)
    pull.start()
    pull.set_capacity(10_000)
    try:
        yield Foreign(received, pull)
    finally:
        await pull.stop()


async def create_foreign(connection: Connection, max_deliver: int, ack_wait: timedelta) -> None:
    config: dict[str, JsonValue] = {
        "durable_name": "shop__pack",
        "filter_subject": "trellis.work.shop.pack",
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "ack_wait": round(ack_wait.total_seconds() * 1e9),
        "max_deliver": max_deliver,
    }
    await create_consumer(connection, "JOBS_WORK", config)


async def count_advisories(shop: Shop) -> int:
    answer = await call(connection_of(shop), "STREAM.INFO.JOBS_ADVISORIES")
    state = answer["state"]
    assert isinstance(state, dict)
    messages = state["messages"]
    assert isinstance(messages, int)
    return messages


async def wait_for_advisories(shop: Shop, count: int) -> None:
    async def have_come() -> bool:
        return await count_advisories(shop) >= count

    await eventually(have_come, within=SOON)


async def test_a_job_that_a_foreign_consumer_gave_up_is_dead(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, foreign_consumer(shop) as foreign:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await wait_for_advisories(shop, 1)
        burier = UndeliveredBurier(connection_of(shop))
        report = await burier.run()
        event = await newest(shop, ref.id)
        again = await burier.run()
        replayed = await UndeliveredBurier(connection_of(shop)).run()

    assert len(foreign.received) == 2
    assert report.dead == 1
    assert (event.event_type, event.state, event.previous_state, event.tries) == (
        "dead",
        "dead",
        "pending",
        2,
    )
    assert event.error == "max deliveries exceeded: stream=JOBS_WORK consumer=shop__pack deliveries=2"
    assert again.results == {}
    assert replayed.results == {AdvisoryResult.SPARED: 1}


async def test_an_old_advisory_does_not_end_a_job_that_was_retried(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, foreign_consumer(shop) as foreign:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await wait_for_advisories(shop, 1)
        assert (await UndeliveredBurier(connection_of(shop)).run()).dead == 1
        foreign.pull.set_capacity(0)
        retried: dict[str, JsonValue] = {"timestamp": timestamp(now()), "previousState": "dead"}
        await publish_foreign(shop, EventType.RETRIED, ref.id, retried)

        replayed = await UndeliveredBurier(connection_of(shop)).run()
        assert (await ref.get()).state is JobState.PENDING
        foreign.pull.set_capacity(10)
        await wait_for_advisories(shop, 2)
        second = await UndeliveredBurier(connection_of(shop)).run()
        assert (await ref.get()).state is JobState.DEAD

    assert replayed.results == {AdvisoryResult.SPARED: 1}
    assert second.results == {AdvisoryResult.SPARED: 1, AdvisoryResult.DEAD: 1}


async def test_a_consumer_that_was_created_again_delivers_the_message(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        async with foreign_consumer(shop):
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await wait_for_advisories(shop, 1)
        connection = connection_of(shop)
        await delete_consumer(connection, "JOBS_WORK", "shop__pack")
        without = await UndeliveredBurier(connection).run()
        await create_foreign(connection, -1, timedelta(seconds=1))
        again = await UndeliveredBurier(connection).run()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        assert await ref.result(timeout=SOON) == Receipt(total=1)

    assert without.results == again.results == {AdvisoryResult.SPARED: 1}


async def test_what_is_missing_or_malformed_does_not_stop_the_duty(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, foreign_consumer(shop) as foreign:
        connection = connection_of(shop)
        subject = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS_WORK.shop__pack"
        advisory: dict[str, JsonValue] = {
            "type": "io.nats.jetstream.advisory.v1.max_deliver",
            "stream": "JOBS_WORK",
            "consumer": "shop__pack",
            "stream_seq": 4711,
            "deliveries": 2,
            "timestamp": timestamp(now()),
        }
        for data in (
            b"",
            b"{",
            b"\xff\xfe",
            b"[" * 10_000,
            json.dumps(advisory).encode(),
            json.dumps(advisory | {"stream": "NONE"}).encode(),
            json.dumps(advisory | {"stream": "JOBS", "stream_seq": 1}).encode(),
        ):
            await publish_acked(connection, subject, data)
        await publish_acked(connection, "trellis.work.shop.pack", b"not a job")
        gone = await shop.jobs.pack.create(Parcel(number=1))
        ref = await shop.jobs.pack.create(Parcel(number=2))
        await wait_for_advisories(shop, 10)
        await call(connection, "STREAM.PURGE.JOBS", {"filter": f"trellis.jobs.shop.pack.{gone.id}.>"})
        report = await UndeliveredBurier(connection).run()
        snapshot = await ref.get()

    assert len(foreign.received) == 6
    assert snapshot.state is JobState.DEAD
    assert report.results == {
        AdvisoryResult.DEAD: 1,
        AdvisoryResult.SPARED: 5,
        AdvisoryResult.UNREADABLE: 4,
    }


async def test_a_job_whose_worker_lives_is_not_dead(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, shop_process(nats_server.url) as worker:
        ref = await shop.jobs.pack.create(Parcel(number=600))
        await worker.wait_for("began")
        info = await get_consumer_info(connection_of(shop), "JOBS_WORK", "shop__pack")
        assert info is not None
        forged: dict[str, JsonValue] = {
            "type": "io.nats.jetstream.advisory.v1.max_deliver",
            "stream": "JOBS_WORK",
            "consumer": "shop__pack",
            "stream_seq": 1,
            "deliveries": 2,
            "timestamp": timestamp(now()),
        }
        subject = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS_WORK.shop__pack"
        await publish_acked(connection_of(shop), subject, json.dumps(forged).encode())
        report = await UndeliveredBurier(connection_of(shop)).run()
        state = (await ref.get()).state

    assert report.results == {AdvisoryResult.RUNNING: 1}
    assert state is JobState.ACTIVE


async def test_without_the_stream_of_advisories_there_is_nothing_to_do(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await call(connection_of(shop), "STREAM.DELETE.JOBS_ADVISORIES")
        assert (await UndeliveredBurier(connection_of(shop)).run()).results == {}


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_duties_work_on_older_servers(version: str) -> None:
    async with (
        NatsServer(binary=binary_of(version)) as server,
        Shop.connect(server.url) as shop,
        foreign_consumer(shop),
    ):
        await publish_foreign(shop, EventType.CREATED, JOB, PAST)
        assert (await expirer(shop, JOB).run()).expired == 1
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await wait_for_advisories(shop, 2)
        report = await UndeliveredBurier(connection_of(shop)).run()
        assert (await ref.get()).state is JobState.DEAD

    assert report.results == {AdvisoryResult.DEAD: 1, AdvisoryResult.SPARED: 1}


# --- replicas ------------------------------------------------------------------------------------------------------------


async def test_one_of_two_replicas_runs_the_duties_and_the_other_one_follows(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, foreign_consumer(shop):
        connection = connection_of(shop)
        bucket = await open_admin_bucket(connection)
        overdue = Overdue(JOB)
        async with AsyncExitStack() as first, FleetDuties(connection, bucket, overdue, options=PROMPT) as two:
            one = await first.enter_async_context(FleetDuties(connection, bucket, overdue, options=PROMPT))
            await eventually(lambda: one.is_leader or two.is_leader)
            await publish_foreign(shop, EventType.CREATED, JOB, PAST)
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await shop.jobs.pack.ref(JOB).wait(timeout=SOON)
            await ref.wait(timeout=SOON)
            assert not (one.is_leader and two.is_leader)
            await first.aclose()
            await eventually(lambda: two.is_leader)
            after = await shop.jobs.pack.create(Parcel(number=2))
            await after.wait(timeout=SOON)
        histories = [await history(shop, job_id) for job_id in (JOB, ref.id, after.id)]

    assert histories == [["created", "expired"], ["created", "dead"], ["created", "dead"]]


async def test_the_duties_of_a_killed_replica_go_on_in_another_one(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        connection = connection_of(shop)
        bucket = await open_admin_bucket(connection)
        async with (
            duties_process(nats_server.url, PROMPT.lease) as killed,
            FleetDuties(connection, bucket, Overdue(JOB), options=PROMPT) as duties,
        ):
            assert not duties.is_leader
            killed.kill()
            await killed.wait()
            await eventually(lambda: duties.is_leader, within=SOON)
            await publish_foreign(shop, EventType.CREATED, JOB, PAST)
            await shop.jobs.pack.ref(JOB).wait(timeout=SOON)
