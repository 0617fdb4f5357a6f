"""One job from its creation to its end, in every way that it can end."""

import asyncio
import itertools
from datetime import timedelta

import pytest
from trellis_nats import (
    Accepted,
    InvalidPayload,
    JobExpired,
    JobFailed,
    JobNotFound,
    JobRetry,
    JobState,
)
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.support.shop import DEADLINE, Parcel, ParcelJob, Receipt, Shop, up_to

SOON = timedelta(seconds=10)


async def test_a_created_job_is_stored_and_worked(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number * 2)

        ref = await shop.jobs.pack.create(Parcel(number=21))
        before = await ref.get()
        await shop.jobs.start_workers()
        result = await ref.result(timeout=SOON)
        after = await ref.get()

    assert (before.state, before.payload, before.tries) == (JobState.PENDING, Parcel(number=21), 0)
    assert result == Receipt(total=42)
    assert (after.state, after.result, after.tries, after.is_terminal) == (
        JobState.COMPLETED,
        Receipt(total=42),
        1,
        True,
    )
    assert after.started_at is not None
    assert after.ended_at is not None
    assert before.created_at <= after.started_at <= after.ended_at


async def test_submit_always_accepts_on_a_queue_without_a_key(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        outcome = await shop.jobs.pack.submit(Parcel(number=1))

        assert isinstance(outcome, Accepted)
        assert outcome.key is None
        assert (await outcome.ref.get()).state is JobState.PENDING


async def test_after_an_exception_a_second_attempt_completes(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        tries: list[tuple[int, bool, int]] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            tries.append((job.tries, job.is_redelivery, job.redelivery_count))
            if job.tries == 1:
                raise ConnectionError("the belt stands still")
            return Receipt(total=1)

        async with shop.jobs.follow() as events:
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await shop.jobs.start_workers()
            seen = [(e.event, str(e.state), e.tries, e.error) async for e in up_to("completed", events)]

        assert await ref.result(timeout=SOON) == Receipt(total=1)

    assert tries == [(1, False, 0), (2, True, 1)]
    assert seen == [
        ("created", "pending", 0, None),
        ("started", "active", 1, None),
        ("retry", "retry", 1, "ConnectionError: the belt stands still"),
        ("started", "active", 2, None),
        ("completed", "completed", 2, None),
    ]


async def test_a_job_is_dead_after_its_last_attempt(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        calls = itertools.count(1)

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            raise ConnectionError(f"call {next(calls)}")

        ref = await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.start_workers()
        snapshot = await ref.wait(timeout=SOON)

        with pytest.raises(JobFailed, match="call 3"):
            await ref.result()

    assert (snapshot.state, snapshot.tries, snapshot.last_error) == (
        JobState.DEAD,
        3,
        "ConnectionError: call 3",
    )
    assert next(calls) == 4


async def test_a_handler_that_gives_up_is_not_tried_again(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            raise JobFailed("card declined")

        ref = await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.start_workers()

        with pytest.raises(JobFailed, match="card declined"):
            await ref.result(timeout=SOON)
        assert (await ref.get()).state is JobState.FAILED
        assert (await ref.get()).tries == 1


async def test_a_handler_may_choose_when_it_is_tried_again(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise JobRetry("too early", after=timedelta(milliseconds=10))
            return Receipt(total=job.tries)

        ref = await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.start_workers()

        assert await ref.result(timeout=SOON) == Receipt(total=2)


async def test_a_result_that_does_not_match_its_schema_fails_the_job(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Parcel(number=1)  # type: ignore[return-value]  # pyright: ignore[reportReturnType] - the mistake under test

        ref = await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.start_workers()

        with pytest.raises(JobFailed, match="the result of a job"):
            await ref.result(timeout=SOON)


async def test_a_payload_that_does_not_match_its_schema_is_not_sent(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        with pytest.raises(InvalidPayload, match="#/number"):
            await shop.jobs.pack.create({"number": "one"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - the mistake under test


async def test_a_queue_without_a_result_completes_with_none(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.sort.handle
        async def sort(job: object) -> None:
            return None

        ref = await shop.jobs.sort.create(Parcel(number=1))
        await shop.jobs.start_workers()

        await ref.result(timeout=SOON)
        assert (await ref.get()).state is JobState.COMPLETED
        assert (await ref.get()).result is None


async def test_a_job_past_its_deadline_expires_and_never_runs(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ran = asyncio.Event()

        @shop.jobs.sort.handle
        async def sort(job: object) -> None:
            ran.set()

        deadline = now() + timedelta(milliseconds=300)
        ref = await shop.jobs.sort.create(Parcel(number=1), deadline=deadline)
        await asyncio.sleep((deadline - now()).total_seconds())
        await shop.jobs.start_workers()

        with pytest.raises(JobExpired, match="deadline"):
            await ref.result(timeout=SOON)
        assert not ran.is_set()


async def test_a_queue_may_have_a_default_deadline(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        before = now()
        ref = await shop.jobs.sort.create(Parcel(number=1))
        after = now()

        deadline = (await ref.get()).deadline
        assert deadline is not None
        assert before - timedelta(milliseconds=1) <= deadline - DEADLINE <= after


async def test_waiting_for_a_job_that_has_ended_returns_at_once(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.cancel()

        assert (await shop.jobs.pack.ref(ref.id).wait(timeout=SOON)).state is JobState.CANCELLED


async def test_giving_up_waiting_does_not_end_the_job(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))

        with pytest.raises(TimeoutError):
            await ref.wait(timeout=timedelta(milliseconds=50))
        assert (await ref.get()).state is JobState.PENDING


async def test_a_job_that_never_was_is_not_found(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        with pytest.raises(JobNotFound, match="NEVER"):
            await shop.jobs.pack.ref("NEVER").get()


async def test_a_late_subscriber_gets_the_whole_history_of_a_job(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                raise ConnectionError("the belt stands still")
            await job.progress(step="packing")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.result(timeout=SOON)

        assert [(event.event, event.tries) async for event in ref.events()] == [
            ("created", 0),
            ("started", 1),
            ("retry", 1),
            ("started", 2),
            ("progress", 2),
            ("completed", 2),
        ]


async def test_the_events_of_a_job_that_is_cancelled_live_end_with_it(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        seen: list[str] = []

        async for event in ref.events():
            seen.append(event.event)
            if event.event == "created":
                await ref.cancel()

    assert seen == ["created", "cancelled"]
