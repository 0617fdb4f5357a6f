"""The options of job creation."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from trellis_nats import ConfigurationError, InvalidPayload, JobExpired, JobState, PayloadTooLarge
from trellis_nats._nats.jetstream.api import JsonObject, call
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON = timedelta(seconds=10)


async def stored(shop: Shop) -> object:
    info = await get_stream_info(shop.jobs.runtime.connection, "JOBS")
    assert info is not None
    assert isinstance(info["state"], dict)
    return info["state"]["messages"]


async def test_an_idempotency_key_makes_one_job(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        runs: list[int] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.payload.number)
            return Receipt(total=job.payload.number)

        refs = await asyncio.gather(
            *(shop.jobs.pack.create(Parcel(number=n), idempotency_key="order 7") for n in range(5))
        )
        await shop.jobs.start_workers()
        first = await refs[0].result(timeout=SOON)
        later = await shop.jobs.pack.create(Parcel(number=9), idempotency_key="order 7")

        assert {ref.id for ref in (*refs, later)} == {refs[0].id}
        assert await later.result(timeout=SOON) == first
        assert len(runs) == 1
        other = await shop.jobs.sort.create(Parcel(number=9), idempotency_key="order 7")
        assert other.id != later.id, "the key is the queue's own"


@pytest.mark.parametrize("queue", ["charge", "ship"])
async def test_an_idempotency_key_that_is_used_again_for_another_payload_is_logged(
    nats_server: NatsServer, queue: str
) -> None:
    """Queue `ship` has a concurrency key."""
    async with Shop.connect(nats_server.url) as shop:
        jobs = {"charge": shop.jobs.charge, "ship": shop.jobs.ship}[queue]
        with LogSignals() as signals:
            first = await jobs.create(Parcel(number=1), idempotency_key="order 7")
            await jobs.create(Parcel(number=1), idempotency_key="order 7")
            assert not signals.of(LogEvent.IDEMPOTENCY_KEY_REUSED)
            await jobs.create(Parcel(number=2), idempotency_key="order 7")

        (record,) = signals.of(LogEvent.IDEMPOTENCY_KEY_REUSED, queue=queue, job_id=first.id)
        assert record.levelname == "WARNING"
        assert "'order 7' was used with another payload" in record.getMessage()
        assert f"job {first.id} keeps its payload" in record.getMessage()
        assert (await first.get()).payload == Parcel(number=1)


async def test_a_key_whose_job_was_purged_makes_a_new_job(nats_server: NatsServer) -> None:
    """Within the duplicate window the stream still knows the first job's message id."""
    async with Shop.connect(nats_server.url) as shop:
        first = await shop.jobs.pack.create(Parcel(number=1), idempotency_key="order 7")
        body: JsonObject = {"filter": f"trellis.jobs.shop.pack.{first.id}.>"}
        await call(shop.jobs.runtime.connection, "STREAM.PURGE.JOBS", body)

        again = await shop.jobs.pack.create(Parcel(number=2), idempotency_key="order 7")

        assert again.id == first.id
        assert (await again.get()).payload == Parcel(number=2)


async def test_a_delayed_job_waits_without_using_an_attempt(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        late = await shop.jobs.pack.create(Parcel(number=1), delay=timedelta(milliseconds=300))
        soon = await shop.jobs.pack.create(Parcel(number=2))

        assert await soon.result(timeout=SOON) == Receipt(total=1)
        assert (await late.get()).state is JobState.PENDING
        assert await late.result(timeout=SOON) == Receipt(total=1)
        snapshot = await late.get()
        assert snapshot.started_at is not None
        assert snapshot.started_at - snapshot.created_at >= timedelta(milliseconds=299)


async def test_a_deadline_may_be_given_as_a_time_or_an_instant(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        in_an_hour = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
        ref = await shop.jobs.pack.create(Parcel(number=1), deadline=in_an_hour)
        short = await shop.jobs.pack.create(Parcel(number=1), deadline=timedelta(milliseconds=1))
        await asyncio.sleep(0.002)
        await shop.jobs.start_workers()

        assert (await ref.get()).deadline == in_an_hour
        with pytest.raises(JobExpired):
            await short.result(timeout=SOON)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"idempotency_key": ""}, "must not be empty"),
        ({"delay": timedelta(seconds=-5)}, "must not be negative, got -5 s"),
        ({"deadline": timedelta(0)}, "is not after"),
        ({"deadline": timedelta(seconds=1), "delay": timedelta(seconds=2)}, "when the job could begin"),
        ({"deadline": datetime(2030, 1, 1)}, "no time zone"),  # noqa: DTZ001 - the mistake under test
    ],
)
async def test_what_cannot_be_meant_is_refused(
    nats_server: NatsServer, options: dict[str, object], said: str
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        with pytest.raises(ConfigurationError, match=said):
            await shop.jobs.pack.create(Parcel(number=1), **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - one of each
        assert await stored(shop) == 0


@pytest.mark.parametrize("count", [0, 1, 7, 2_500])
async def test_many_jobs_are_created_at_once(nats_server: NatsServer, count: int) -> None:
    async with Shop.connect(nats_server.url) as shop:
        refs = await shop.jobs.pack.create_many(Parcel(number=n) for n in range(count))

        assert await stored(shop) == count
        assert len({ref.id for ref in refs}) == count
        if refs:
            assert (await refs[-1].get()).payload == Parcel(number=count - 1)


async def test_of_many_jobs_all_are_created_or_none(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        good = [Parcel(number=n) for n in range(20)]

        with pytest.raises(InvalidPayload):
            await shop.jobs.pack.create_many([*good, {"number": "x"}])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType] - the mistake under test
        with pytest.raises(PayloadTooLarge):
            await shop.jobs.pack.create_many([*good, Parcel(number=1, note="x" * 2_000_000), *good])

        assert await stored(shop) == 0


async def test_an_error_leaves_whole_batches_in_the_order_of_the_payloads(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        payloads = [Parcel(number=n) for n in range(2_500)]
        payloads[1_700] = Parcel(number=1_700, note="x" * 2_000_000)

        with pytest.raises(PayloadTooLarge):
            await shop.jobs.pack.create_many(payloads)

        assert await stored(shop) == 1_000


async def test_many_jobs_that_are_no_longer_wanted_end_between_two_batches(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        creating = asyncio.create_task(
            shop.jobs.pack.create_many(Parcel(number=number) for number in range(10_000))
        )

        async def has_begun() -> bool:
            return await stored(shop) != 0

        await eventually(has_begun)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating

        await shop.jobs.pack.create(Parcel(number=1))  # the server has read everything sent before it
        assert await stored(shop) in range(1_001, 10_001, 1_000)
