"""NATS stores what a process writes, and the answer never comes: nothing is done again, dropped or misreported for it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import JobState, NotConnected, Options, WriteUnknown
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.faults.harness.wiretap import Step, Wiretap
from tests.support.eventually import eventually
from tests.support.inspection import inspect_queue
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=15)
HASTY: Final = Options(request_timeout=timedelta(milliseconds=300))


def silence(tap: Wiretap, step: Step) -> None:
    """Lose the answer that is such a step, and hold back everything behind it until the tap is healed."""

    def hold_back() -> bool:
        tap.blackhole("to_client")
        return False

    tap.at(step, hold_back)


async def heal_after(event: LogEvent, tap: Wiretap, signals: LogSignals) -> None:
    """Let answers through again once the process has given up a write and logged that."""
    await signals.wait_for(event, timeout=SOON)
    assert not tap.waits
    tap.heal()


async def newest_type(shop: Shop, job: str) -> str:
    newest = await inspect_queue(shop.jobs.pack).event_log.newest(job)
    assert newest is not None
    return newest.event.event_type


async def test_a_report_whose_answer_is_lost_does_not_undo_the_job(nats_server: NatsServer) -> None:
    """Its worker goes on behind what it wrote itself, instead of taking it for another one's."""
    async with Wiretap(nats_server.port) as tap, Shop.connect(tap.url, options=HASTY) as shop:
        runs: list[int] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.tries)
            silence(tap, Step.REPORT_STORED)
            await job.progress(step="given up")
            tap.heal()
            await job.progress(step="stored")
            return Receipt(total=1)

        ref = await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.start_workers()
        await ref.result(timeout=SOON)
        snapshot = await ref.get()

    assert (runs, snapshot.tries) == ([1], 1)
    assert not tap.waits
    assert snapshot.progress is not None
    assert snapshot.progress.step == "stored"


async def test_a_report_that_is_given_up_half_way_does_not_undo_the_job(nats_server: NatsServer) -> None:
    """Its handler stopped waiting, as one does that a stopping worker cancels: the report may be stored all the same."""
    async with Wiretap(nats_server.port) as tap, Shop.connect(tap.url) as shop:
        runs: list[int] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.tries)
            tap.drop(Step.REPORT_STORED)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(job.progress(step="given up"), 0.2)
            return Receipt(total=1)

        ref = await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.start_workers()
        await ref.result(timeout=SOON)

        assert ((await ref.get()).tries, runs) == (1, [1])
        assert not tap.waits


async def test_a_beginning_whose_answer_is_lost_uses_up_no_other_attempt(
    nats_server: NatsServer,
) -> None:
    with LogSignals() as signals:
        async with Wiretap(nats_server.port) as tap, Shop.connect(tap.url, options=HASTY) as shop:
            runs: list[int] = []

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                runs.append(job.tries)
                return Receipt(total=1)

            silence(tap, Step.STARTED_STORED)
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await shop.jobs.start_workers()
            await heal_after(LogEvent.START_NOT_CONFIRMED, tap, signals)
            await ref.result(timeout=SOON)

            assert ((await ref.get()).tries, runs) == (1, [1])


async def test_an_end_whose_answer_is_lost_is_acknowledged_like_any_other(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Wiretap(nats_server.port) as tap, Shop.connect(tap.url, options=HASTY) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                return Receipt(total=1)

            silence(tap, Step.OUTCOME_STORED)
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await shop.jobs.start_workers()
            await heal_after(LogEvent.OUTCOME_NOT_STORED, tap, signals)
            await ref.result(timeout=SOON)
            await eventually(lambda: any(each.step is Step.ACK_CONFIRMED for each in tap.seen), within=SOON)

        assert sum(each.step is Step.DELIVERED and each.job == ref.id for each in tap.seen) == 1
        assert not signals.of(LogEvent.JOB_SUPERSEDED)


async def test_a_report_behind_the_end_is_dropped(nats_server: NatsServer) -> None:
    """If it were stored, a finished job would look active to a reader of the newest event."""
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:
            kept: list[ParcelJob] = []

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                kept.append(job)
                return Receipt(total=1)

            ref = await shop.jobs.pack.create(Parcel(number=1))
            await shop.jobs.start_workers()
            await ref.result(timeout=SOON)
            await kept[0].progress(step="too late")
            await kept[0].log("too late")

            assert await newest_type(shop, ref.id) == "completed"
            assert [record.getMessage() for record in signals.of(LogEvent.REPORT_DROPPED, job_id=ref.id)] == [
                f"job {ref.id}: dropped {report}: its handler has ended" for report in ("progress", "logged")
            ]
            assert (await ref.cancel()).state is JobState.COMPLETED


async def test_a_creation_whose_answer_is_lost_before_an_outage_is_not_said_to_have_failed(
    nats_server: NatsServer,
) -> None:
    async with Wiretap(nats_server.port) as tap, Shop.connect(tap.url, options=HASTY) as shop:

        def die() -> bool:
            nats_server.kill()
            return False

        tap.at(Step.CREATED_STORED, die)
        with pytest.raises(WriteUnknown, match="may have been stored"):
            await shop.jobs.pack.create(Parcel(number=1))


async def test_a_creation_that_never_left_is_said_to_have_failed(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=HASTY) as shop:
        connection = shop.jobs.runtime.connection
        nats_server.kill()
        await eventually(lambda: not connection.is_connected)

        with pytest.raises(NotConnected):
            await shop.jobs.pack.create(Parcel(number=1))
        with pytest.raises(NotConnected):
            await shop.jobs.pack.create_many([Parcel(number=1), Parcel(number=2)])


async def test_many_jobs_whose_answer_is_lost_are_stored_once_when_nats_is_back(
    nats_server: NatsServer,
) -> None:
    async with Wiretap(nats_server.port) as tap, Shop.connect(tap.url, options=HASTY) as shop:

        def cut() -> bool:
            tap.cut()
            return False

        tap.at(Step.CREATED_STORED, cut)
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(20)])

        assert not tap.waits
        assert {(await ref.get()).state for ref in refs} == {JobState.PENDING}
