"""A write whose answer is lost may be stored, whatever refuses its repeats: no error says that it is not."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import JobNotEnqueued, JobState, Options, TransportError, WriteUnknown
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.refusals import Refusal, RefusingProxy
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=20)
HASTY: Final = Options(request_timeout=timedelta(seconds=1))
JOBS: Final = "trellis.jobs.shop."
READS: Final = "$JS.API.DIRECT.GET.JOBS."
PARCEL: Final = Parcel(number=1)
UNKNOWN: Final = "may (have been|be) stored"
REFUSALS: Final = [Refusal.FULL, Refusal.NO_STREAM, Refusal.DENIED, Refusal.TOO_LARGE]


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[RefusingProxy]:
    async with RefusingProxy(nats_server.port) as standing:
        yield standing


@pytest.fixture
async def shop(proxy: RefusingProxy) -> AsyncIterator[Shop]:
    async with Shop.connect(proxy.url, options=HASTY) as connected:
        yield connected


async def state_of(nats_server: NatsServer, proxy: RefusingProxy) -> JobState:
    """Return the state of the job whose event was stored without an answer."""
    _, _, _, queue, job_id, _ = proxy.lost[0].split(".")
    async with Shop.connect(nats_server.url) as other:
        return (await (other.jobs.ship if queue == "ship" else other.jobs.pack).ref(job_id).get()).state


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_creation_is_unknown(
    nats_server: NatsServer, proxy: RefusingProxy, shop: Shop, refusal: Refusal
) -> None:
    proxy.lose_then_refuse(JOBS, refusal)
    with pytest.raises(WriteUnknown, match=UNKNOWN):
        await shop.jobs.pack.create(PARCEL)

    assert await state_of(nats_server, proxy) is JobState.PENDING


@pytest.mark.parametrize("refusal", [Refusal.DENIED, Refusal.NOT_YET])
async def test_a_creation_whose_fate_cannot_be_read_is_unknown(
    nats_server: NatsServer, proxy: RefusingProxy, shop: Shop, refusal: Refusal
) -> None:
    proxy.lose_then_refuse(JOBS, refusal, refused=[READS])
    with pytest.raises(WriteUnknown, match=UNKNOWN):
        await shop.jobs.pack.create(PARCEL)

    assert proxy.refused
    assert await state_of(nats_server, proxy) is JobState.PENDING


async def test_a_creation_that_is_found_and_cannot_be_compared_is_unknown(
    nats_server: NatsServer, proxy: RefusingProxy, shop: Shop
) -> None:
    proxy.lose_then_refuse(JOBS, Refusal.DENIED, refused=[READS], skip=1)
    with pytest.raises(WriteUnknown, match=UNKNOWN):
        await shop.jobs.pack.create(PARCEL)

    assert proxy.refused
    assert await state_of(nats_server, proxy) is JobState.PENDING


async def test_a_keyed_creation_is_unknown_and_keeps_the_place_of_its_job(
    nats_server: NatsServer, proxy: RefusingProxy, shop: Shop
) -> None:
    for skip in (0, 1):
        number = Parcel(number=skip)
        refusal = Refusal.DENIED if skip else Refusal.FULL
        proxy.lose_then_refuse(JOBS, refusal, refused=[READS] if skip else None, skip=skip)
        with pytest.raises(WriteUnknown, match=UNKNOWN):
            await shop.jobs.ship.create(number)
        assert proxy.refused
        assert await state_of(nats_server, proxy) is JobState.PENDING
        proxy.accept()

        with pytest.raises(JobNotEnqueued):
            await shop.jobs.ship.create(number)


@pytest.mark.parametrize("queue", ["pack", "ship"])
async def test_many_creations_are_unknown(
    nats_server: NatsServer, proxy: RefusingProxy, shop: Shop, queue: str
) -> None:
    for refused, refusal in ((JOBS, Refusal.FULL), (READS, Refusal.DENIED)):
        proxy.lose_then_refuse(JOBS, refusal, refused=[refused])
        parcels = [Parcel(number=len(refused)), PARCEL] if refused == JOBS else [Parcel(number=2)]
        with pytest.raises(WriteUnknown, match=UNKNOWN):
            await (shop.jobs.ship if queue == "ship" else shop.jobs.pack).create_many(parcels)

        assert proxy.refused
        assert await state_of(nats_server, proxy) is JobState.PENDING
        proxy.accept()


@pytest.mark.parametrize("ending", ["answered", "cut"])
async def test_a_creation_that_its_caller_gives_up_harms_no_other(
    nats_server: NatsServer, proxy: RefusingProxy, shop: Shop, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    """Its answer arrives later, or the connection ends before: no callback fails, and no error is left unread."""
    proxy.blackhole("to_client")
    given_up = [asyncio.create_task(shop.jobs.pack.create(PARCEL)) for _ in range(2)]
    other = asyncio.create_task(shop.jobs.pack.create(PARCEL))
    await eventually(lambda: proxy.sent_to_server.count(b".created ") == 3)
    given_up[0].cancel()
    if ending == "cut":
        proxy.cut()
    else:
        given_up[1].cancel()
    proxy.heal()
    ref = await other
    given_up[1].cancel()
    await asyncio.wait(given_up)
    del given_up
    gc.collect()

    assert (await ref.get()).state is JobState.PENDING
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_what_an_operator_does_is_unknown(
    nats_server: NatsServer, proxy: RefusingProxy, shop: Shop
) -> None:
    ref = await shop.jobs.pack.create(PARCEL)
    proxy.lose_then_refuse(JOBS, Refusal.FULL)
    with pytest.raises(WriteUnknown, match=UNKNOWN):
        await ref.cancel()

    assert await state_of(nats_server, proxy) is JobState.CANCELLED


async def test_the_release_of_a_key_is_unknown(proxy: RefusingProxy, shop: Shop) -> None:
    ref = await shop.jobs.ship.create(PARCEL)
    proxy.lose_then_refuse("$KV.", Refusal.FULL, refused=["$JS.API.STREAM.MSG.GET.KV_"])
    with pytest.raises(WriteUnknown, match=UNKNOWN):
        await ref.release_key()

    assert proxy.refused
    proxy.accept()
    assert not await ref.release_key(), "it was released"


async def test_a_checkpoint_is_unknown(proxy: RefusingProxy, shop: Shop) -> None:
    raised: list[TransportError] = []

    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        if job.tries == 1:
            proxy.lose_then_refuse(JOBS, Refusal.FULL)
            try:
                await job.checkpoint(PARCEL)
            except TransportError as error:
                raised.append(error)
            proxy.accept()
        return Receipt(total=job.tries)

    await shop.jobs.start_workers()
    ref = await shop.jobs.pack.create(PARCEL)

    assert await ref.result(timeout=SOON) == Receipt(total=1)
    assert [type(error) for error in raised] == [WriteUnknown]
    assert (await ref.get()).last_checkpoint == {"number": 1}


async def test_a_beginning_that_may_be_stored_consumes_no_attempt(proxy: RefusingProxy, shop: Shop) -> None:
    """The worker continues to write it, whatever the reason why it cannot."""
    runs: list[int] = []

    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        runs.append(job.tries)
        return Receipt(total=job.tries)

    ref = await shop.jobs.pack.create(PARCEL)
    proxy.lose_then_refuse(JOBS, Refusal.FULL)
    with LogSignals() as logs:
        await shop.jobs.start_workers()
        await logs.wait_for(LogEvent.START_NOT_CONFIRMED, count=2, job_id=ref.id)
        proxy.accept()

        assert await ref.result(timeout=SOON) == Receipt(total=1)
    assert runs == [1]


async def test_an_outcome_that_may_be_stored_is_written_until_it_is(proxy: RefusingProxy, shop: Shop) -> None:
    runs: list[int] = []

    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        runs.append(job.tries)
        proxy.lose_then_refuse(JOBS, Refusal.FULL)
        return Receipt(total=job.tries)

    with LogSignals() as logs:
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(PARCEL)
        await logs.wait_for(LogEvent.OUTCOME_NOT_STORED, count=2, job_id=ref.id)
        proxy.accept()

        assert await ref.result(timeout=SOON) == Receipt(total=1)
    assert runs == [1]
    assert [event.event async for event in ref.events()] == ["created", "started", "completed"]
