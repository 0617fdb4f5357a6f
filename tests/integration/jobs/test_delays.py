"""Jobs that wait for long hold no delivery, keep their time, and are neither lost nor run twice."""

import asyncio
import itertools
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

import pytest
from pydantic import JsonValue
from trellis_nats import ConfigurationError, JobRetry, JobState, Maintenance, Options, RescueReport
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent, instant
from trellis_nats.jobs.model.parked_job import ParkedJob
from trellis_nats.jobs.work.redelivery import RedeliveryPolicy
from trellis_nats.testing import NatsServer

from tests.support.delays import (
    LONG,
    PARKING_VERSIONS,
    count_messages,
    delete_delayed,
    held,
    narrow,
    parks,
    servers_of,
)
from tests.support.eventually import eventually
from tests.support.inspection import inspect_queue
from tests.support.lost_work import connection_of, purge_work
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.versions import VERSIONS

SOON: Final = timedelta(seconds=10)
WAIT: Final = timedelta(seconds=1.5)
"""Parked where the consumer is narrow."""
AT_ONCE: Final = Options(
    jitter=0, maintenance=Maintenance(rescue_every=None, purge_every=None, lost_after=timedelta(0))
)
"""Searches on demand; every job that should be at work and has no message counts as lost."""


@pytest.fixture(params=[*VERSIONS, None], ids=[*VERSIONS, "newest"])
def any_server(request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    yield from servers_of(request)


@pytest.fixture(params=[*PARKING_VERSIONS, None], ids=[*PARKING_VERSIONS, "newest"])
def server(request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    yield from servers_of(request)


def counting(shop: Shop) -> dict[str, list[float]]:
    """Handle the jobs of the queue. Return when each began, by its id."""
    began: dict[str, list[float]] = {}

    @shop.jobs.pack.handle(concurrency=4)
    async def pack(job: ParcelJob) -> Receipt:
        began.setdefault(job.id, []).append(monotonic())
        return Receipt(total=job.payload.number)

    return began


async def parked(shop: Shop) -> int:
    return await count_messages(connection_of(shop), "JOBS_DELAYED", "trellis.delayed.at.>")


async def test_jobs_that_wait_for_long_hold_no_delivery(any_server: NatsServer) -> None:
    """10,000 of them used to stop a queue."""
    async with Shop.connect(any_server.url, options=AT_ONCE) as shop:
        began = counting(shop)
        await shop.jobs.start_workers()
        delayed = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(300)], delay=LONG)

        due = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(20)])
        for number, ref in enumerate(due):
            assert await ref.result(timeout=SOON) == Receipt(total=number)

        if parks(shop):
            await eventually(lambda: is_count(parked(shop), 300))
            await eventually(lambda: is_count(count_messages(connection_of(shop), "JOBS_WORK"), 0))
            assert await held(shop) == 0
        else:
            await eventually(lambda: is_count(held(shop), 300))
        assert await shop.jobs.rescue_lost() == RescueReport(examined=300, waiting=300)
        assert set(began) == {ref.id for ref in due}
        assert {(await ref.get()).state for ref in delayed} == {JobState.PENDING}


async def is_count(count: Awaitable[int], wanted: int) -> bool:
    return await count == wanted


async def test_parked_jobs_run_once_when_they_are_due(server: NatsServer) -> None:
    async with Shop.connect(server.url, options=AT_ONCE) as shop:
        await narrow(shop, 3)
        began = counting(shop)
        await shop.jobs.start_workers()
        created = monotonic()
        delayed = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(50)], delay=WAIT)

        assert await (await shop.jobs.pack.create(Parcel(number=7))).result(timeout=SOON) == Receipt(total=7)
        for ref in delayed:
            await ref.result(timeout=SOON)

        assert {len(began[ref.id]) for ref in delayed} == {1}
        assert min(began[ref.id][0] for ref in delayed) - created >= WAIT.total_seconds() - 0.01
        assert await count_messages(connection_of(shop), "JOBS_DELAYED") == 0
        assert await shop.jobs.rescue_lost() == RescueReport()


async def test_a_retry_is_parked_and_counts_its_attempts(server: NatsServer) -> None:
    async with Shop.connect(server.url, options=AT_ONCE) as shop:
        await narrow(shop)
        ended: list[float] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            ended.append(monotonic())
            if job.tries < 3:
                raise JobRetry("not yet", after=WAIT)
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await eventually(lambda: is_count(parked(shop), 1))
        await eventually(lambda: is_count(held(shop), 0))

        assert await ref.result(timeout=SOON) == Receipt(total=3)
        assert all(
            later - earlier >= WAIT.total_seconds() - 0.01 for earlier, later in itertools.pairwise(ended)
        )


async def test_the_event_of_a_retry_says_how_long_it_waits(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=AT_ONCE) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            raise JobRetry("tomorrow", after=timedelta(days=1))

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await eventually(lambda: is_in(shop, ref.id, JobState.RETRY))

        newest = await inspect_queue(shop.jobs.pack).event_log.newest(ref.id)
        assert newest is not None
        assert newest.event.wait == timedelta(days=1)
        assert newest.event.not_before is not None


async def is_in(shop: Shop, job_id: str, state: JobState) -> bool:
    return (await shop.jobs.pack.ref(job_id).get()).state is state


async def test_a_retry_whose_message_is_lost_keeps_its_time(any_server: NatsServer) -> None:
    async with Shop.connect(any_server.url, options=AT_ONCE) as shop:
        began: list[float] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            began.append(monotonic())
            if job.tries == 1:
                raise JobRetry(after=WAIT)
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await eventually(lambda: is_in(shop, ref.id, JobState.RETRY))
        await purge_work(shop, 1)

        assert await shop.jobs.rescue_lost() == RescueReport(examined=1)
        await eventually(lambda: is_enqueued(shop))
        assert await ref.result(timeout=SOON) == Receipt(total=2)
        assert began[1] - began[0] >= WAIT.total_seconds() - 0.01


async def is_enqueued(shop: Shop) -> bool:
    return (await shop.jobs.rescue_lost()).enqueued == 1


async def test_a_job_whose_schedule_is_lost_is_enqueued_when_it_is_due(server: NatsServer) -> None:
    async with Shop.connect(server.url, options=AT_ONCE) as shop:
        await narrow(shop)
        began = counting(shop)
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1), delay=2 * WAIT)
        await eventually(lambda: is_count(parked(shop), 1))
        assert await shop.jobs.rescue_lost() == RescueReport(examined=1, waiting=1)

        await delete_delayed(shop)

        assert await shop.jobs.rescue_lost() == RescueReport(examined=1)
        await eventually(lambda: is_enqueued(shop))
        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert len(began[ref.id]) == 1


async def test_jobs_wait_as_deliveries_while_their_stream_is_gone(server: NatsServer) -> None:
    async with Shop.connect(server.url, options=AT_ONCE) as shop:
        began = counting(shop)
        await shop.jobs.start_workers()
        await delete_delayed(shop)

        await shop.jobs.pack.create(Parcel(number=1), delay=LONG)
        await eventually(lambda: is_count(held(shop), 1))
        assert await (await shop.jobs.pack.create(Parcel(number=2))).result(timeout=SOON) == Receipt(total=2)
        assert len(began) == 1


async def test_a_cancelled_job_does_not_run_when_it_is_due(server: NatsServer) -> None:
    async with Shop.connect(server.url, options=AT_ONCE) as shop:
        await narrow(shop)
        began = counting(shop)
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1), delay=WAIT)
        await eventually(lambda: is_count(parked(shop), 1))

        assert (await ref.cancel()).state is JobState.CANCELLED
        await eventually(lambda: is_count(count_messages(connection_of(shop), "JOBS_DELAYED"), 0))
        assert not began
        assert (await ref.get()).state is JobState.CANCELLED


async def test_a_job_that_waits_beyond_its_deadline_expires_at_it(server: NatsServer) -> None:
    async with Shop.connect(server.url, options=AT_ONCE) as shop:
        await narrow(shop)

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            raise JobRetry("tomorrow", after=timedelta(days=1))

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1), deadline=2 * WAIT)

        assert (await ref.wait(timeout=SOON)).state is JobState.EXPIRED


async def test_parked_jobs_survive_a_killed_server(server: NatsServer) -> None:
    async with Shop.connect(server.url, options=AT_ONCE) as shop:
        await narrow(shop)
        began = counting(shop)
        await shop.jobs.start_workers()
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(30)], delay=2 * WAIT)
        await eventually(lambda: is_count(parked(shop), 30))

        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart)

        for ref in refs:
            await ref.result(timeout=SOON)
        assert {len(times) for times in began.values()} == {1}


@pytest.mark.parametrize(
    "delay", [timedelta(days=365 * 7_900), timedelta(days=365 * 300), timedelta(days=365)], ids=str
)
async def test_a_wait_longer_than_a_server_counts_is_not_a_loop(
    any_server: NatsServer, delay: timedelta
) -> None:
    """It was redelivered 1,300 times a second."""
    async with Shop.connect(any_server.url, options=AT_ONCE) as shop:
        began = counting(shop)
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1), delay=delay, deadline=None)
        await (await shop.jobs.pack.create(Parcel(number=2))).result(timeout=SOON)
        if parks(shop):
            await eventually(lambda: is_count(parked(shop), 1))
        else:
            await eventually(lambda: is_count(held(shop), 1))

        info = await get_consumer_info(connection_of(shop), "JOBS_WORK", "shop__pack")
        assert info is not None
        assert info.delivered == 2
        assert list(began) != [ref.id]
        assert (await ref.get()).state is JobState.PENDING


async def test_a_deadline_of_never_is_accepted(any_server: NatsServer) -> None:
    async with Shop.connect(any_server.url, options=AT_ONCE) as shop:
        counting(shop)
        await shop.jobs.start_workers()
        never = datetime.max.replace(tzinfo=UTC)
        ref = await shop.jobs.pack.create(Parcel(number=1), deadline=never, delay=timedelta(milliseconds=10))

        assert await ref.result(timeout=SOON) == Receipt(total=1)


async def test_the_event_of_a_job_that_waits_very_long_is_stored_again(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stream JOBS drops an event after 90 days, and a job without events would be lost."""
    monkeypatch.setattr("trellis_nats.jobs.work.executor._STORED_AGAIN_AFTER", timedelta(0))
    async with Shop.connect(server.url, options=AT_ONCE) as shop:
        await narrow(shop)
        began = counting(shop)
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1), delay=2 * WAIT)
        await eventually(lambda: is_count(parked(shop), 1))
        created = await inspect_queue(shop.jobs.pack).event_log.newest(ref.id)
        assert created is not None
        await come_due(shop, created.event, created.sequence)

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        events = [event.event async for event in ref.events()]
        assert events.count("created") > 1
        assert [event for event in events if event != "created"] == ["started", "completed"]
        stored_again = await inspect_queue(shop.jobs.pack).event_log.newest_of(ref.id, "created")
        assert stored_again is not None
        assert stored_again.event == created.event
        assert stored_again.sequence > created.sequence
        assert len(began[ref.id]) == 1


def soon(policy: RedeliveryPolicy, wanted: timedelta, *, delivered: int) -> timedelta:
    """Stand for `nak_delay`: a message comes back before it is due."""
    return timedelta(milliseconds=10)


async def test_an_event_that_is_stored_again_keeps_what_this_version_does_not_declare(
    any_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job waited for 30 days, and the worker has another version now than the one that wrote it."""
    monkeypatch.setattr("trellis_nats.jobs.work.executor._STORED_AGAIN_AFTER", timedelta(0))
    monkeypatch.setattr(RedeliveryPolicy, "nak_delay", soon)
    async with Shop.connect(any_server.url, options=AT_ONCE) as shop:
        counting(shop)
        await shop.jobs.start_workers()
        pending = await shop.jobs.pack.create(Parcel(number=1), delay=timedelta(seconds=30))
        event_log = inspect_queue(shop.jobs.pack).event_log
        created = await event_log.newest_of(pending.id, "created")
        assert created is not None
        payload: JsonValue = {"number": 1, "undeclared": "kept"}
        other = created.event.model_copy(update={"job_id": "J1", "payload": payload})
        await publish_acked(connection_of(shop), "trellis.jobs.shop.pack.J1.created", other.encode())

        async def is_stored_again() -> bool:
            return (await stored()).sequence > created.sequence + 3

        async def stored() -> StoredEvent:
            found = await event_log.newest_of("J1", "created")
            assert found is not None
            return found

        await eventually(is_stored_again)
        assert (await stored()).event.payload == payload


async def come_due(shop: Shop, event: LifecycleEvent, sequence: int) -> None:
    """Publish what the server publishes when a wait of more than 30 days is looked at again."""
    until = instant(event.timestamp)
    assert until is not None
    due = ParkedJob.of(event.job_id, event.event_type, sequence, until)
    await publish_acked(connection_of(shop), "trellis.delayed.due.shop.pack", due.encode())


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"jobId":"a.b","eventType":"created","sequence":1,"until":"x"}']
)
async def test_a_message_that_names_no_job_is_removed(server: NatsServer, data: bytes) -> None:
    async with Shop.connect(server.url, options=AT_ONCE) as shop:
        counting(shop)
        await shop.jobs.start_workers()
        await publish_acked(connection_of(shop), "trellis.delayed.due.shop.pack", data)

        await eventually(lambda: is_count(count_messages(connection_of(shop), "JOBS_DELAYED"), 0))
        assert await (await shop.jobs.pack.create(Parcel(number=2))).result(timeout=SOON) == Receipt(total=2)


async def test_a_retry_is_not_early_after_a_restart_of_the_server(any_server: NatsServer) -> None:
    """Delayed redeliveries came up to 0.9 s early."""
    async with Shop.connect(any_server.url, options=AT_ONCE) as shop:
        began: list[float] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            began.append(monotonic())
            if job.tries == 1:
                raise JobRetry(after=2 * WAIT)
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await eventually(lambda: is_in(shop, ref.id, JobState.RETRY))
        await eventually(lambda: is_count(held(shop), 1))
        any_server.terminate()
        await asyncio.to_thread(any_server.restart)

        assert await ref.result(timeout=SOON) == Receipt(total=2)
        assert began[1] - began[0] >= 2 * WAIT.total_seconds() - 0.01


async def test_the_waits_of_jobs_that_failed_together_are_spread(nats_server: NatsServer) -> None:
    """100 second attempts came within 61 ms."""
    async with Shop.connect(nats_server.url) as shop:
        began: list[float] = []

        @shop.jobs.charge.handle(concurrency=100)
        async def charge(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise ConnectionError("the terminal is offline")
            began.append(monotonic())
            return Receipt(total=1)

        await shop.jobs.start_workers()
        for ref in await shop.jobs.charge.create_many([Parcel(number=n) for n in range(100)]):
            await ref.result(timeout=SOON)

        assert max(began) - min(began) > 0.12, "a backoff of 1 s varies by 10 % in both directions"


@pytest.mark.parametrize("jitter", [-0.1, 1.0, float("nan")])
def test_a_jitter_is_a_part(jitter: float) -> None:
    with pytest.raises(ConfigurationError, match="jitter must be at least 0 and less than 1"):
        Options(jitter=jitter)


@pytest.mark.parametrize("after", [timedelta(days=30, seconds=1), timedelta.max], ids=str)
def test_a_retry_after_the_end_of_its_history_is_refused(after: timedelta) -> None:
    with pytest.raises(ValueError, match="after must be at most 30 days"):
        JobRetry(after=after)
