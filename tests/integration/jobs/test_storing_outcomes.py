"""The time between the end of a handler and the confirmed acknowledgement: what is promised then, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import JobCancelled, JobState
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.faults.harness.wiretap import Step, Wiretap, acked_too_early
from tests.support.eventually import eventually
from tests.support.ferry import Cargo, CargoJob, Ferry, Stowed
from tests.support.inspection import inspect_queue
from tests.support.records import holders
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=20)
AT_ONCE: Final = timedelta(0)
PARCEL: Final = Parcel(number=1)
CARGO: Final = Cargo(ship="anna")
MOMENT: Final = 0.1
HEARTBEATS: Final = 4
"""More than those of an ack wait."""


@pytest.fixture
async def tap(nats_server: NatsServer) -> AsyncIterator[Wiretap]:
    async with Wiretap(nats_server.port) as standing:
        yield standing
    assert acked_too_early(standing.seen) == []


@pytest.fixture
async def shop(tap: Wiretap) -> AsyncIterator[Shop]:
    async with Shop.connect(tap.url) as connected:
        yield connected


@pytest.fixture
async def other(nats_server: NatsServer) -> AsyncIterator[Shop]:
    """The same service, on an undisturbed connection."""
    async with Shop.connect(nats_server.url) as connected:
        yield connected


def pause_at(tap: Wiretap, step: Step) -> asyncio.Event:
    """Forward no answer from the moment on when a step passes. Return the event that is set then."""
    reached = asyncio.Event()

    def pause() -> bool:
        tap.blackhole("to_client")
        reached.set()
        return True

    tap.at(step, pause)
    return reached


def count(tap: Wiretap, step: Step, job_id: str | None = None) -> int:
    steps = (passage for passage in tap.seen if passage.step is step and passage.forwarded)
    return sum(job_id is None or passage.job == job_id for passage in steps)


def runs_of(shop: Shop) -> list[int]:
    """Register a handler that returns at once. Return the list of its attempts."""
    runs: list[int] = []

    @shop.jobs.pack.handle(concurrency=1)
    async def pack(job: ParcelJob) -> Receipt:
        runs.append(job.tries)
        return Receipt(total=job.tries)

    return runs


async def goes_on(task: asyncio.Task[object]) -> bool:
    await asyncio.wait((task,), timeout=MOMENT)
    return not task.done()


@pytest.mark.parametrize("grace", [AT_ONCE, SOON])
async def test_a_stop_waits_for_the_outcome_and_for_its_confirmed_acknowledgement(
    tap: Wiretap, shop: Shop, other: Shop, grace: timedelta
) -> None:
    runs = runs_of(shop)
    host = await shop.jobs.start_workers()
    at_outcome = pause_at(tap, Step.OUTCOME_SENT)
    ref = await other.jobs.pack.create(PARCEL)
    await at_outcome.wait()
    with LogSignals() as logs:
        stopping = asyncio.create_task(host.stop(grace=grace))

        assert await goes_on(stopping), "the outcome is not known to be stored"
        at_ack = pause_at(tap, Step.ACK_SENT)
        tap.heal()
        await at_ack.wait()
        assert await goes_on(stopping), "the acknowledgement is not confirmed"
        tap.heal()
        await stopping

        assert count(tap, Step.ACK_CONFIRMED) == 1
        assert (
            logs.of(LogEvent.WORKERS_STOPPED)[-1].getMessage() == "the workers stopped: no job was released"
        )
    assert (await other.jobs.pack.ref(ref.id).get()).state is JobState.COMPLETED
    assert runs == [1]


async def test_a_stop_waits_for_the_release_of_a_key(tap: Wiretap, nats_server: NatsServer) -> None:
    async with Ferry.connect(tap.url) as ferry, Ferry.connect(nats_server.url) as other:

        @ferry.jobs.load.handle
        async def load(job: CargoJob) -> Stowed:
            return Stowed(number=1)

        host = await ferry.jobs.start_workers()
        at_outcome = pause_at(tap, Step.OUTCOME_STORED)  # from then on the release has no answer
        ref = await other.jobs.load.create(CARGO)
        await at_outcome.wait()
        stopping = asyncio.create_task(host.stop())

        assert await goes_on(stopping)
        tap.heal()
        await stopping
        assert count(tap, Step.ACK_CONFIRMED) == 1
        assert await holders(other, other.jobs.load, CARGO) == ([], [])
        assert (await ref.get()).state is JobState.COMPLETED


async def test_a_stop_waits_for_the_tails_of_many_jobs(tap: Wiretap, shop: Shop, other: Shop) -> None:
    ended = 0

    @shop.jobs.pack.handle(concurrency=8)
    async def pack(job: ParcelJob) -> Receipt:
        nonlocal ended
        ended += 1
        return Receipt(total=1)

    at_outcome = pause_at(tap, Step.OUTCOME_SENT)
    host = await shop.jobs.start_workers()
    refs = await other.jobs.pack.create_many([PARCEL] * 8)
    await at_outcome.wait()
    stopping = asyncio.create_task(host.stop())
    await eventually(lambda: not stopping.done())
    tap.heal()
    await stopping

    assert count(tap, Step.ACK_CONFIRMED) == ended
    states = [(await ref.get()).state for ref in refs]
    assert states.count(JobState.COMPLETED) == ended
    assert states.count(JobState.PENDING) == 8 - ended


@pytest.mark.parametrize("step", [Step.OUTCOME_SENT, Step.OUTCOME_STORED])
async def test_an_outcome_whose_connection_is_lost_is_written_again(
    tap: Wiretap, shop: Shop, step: Step
) -> None:
    runs = runs_of(shop)

    def cut() -> bool:
        tap.cut()
        return False

    tap.at(step, cut)
    await shop.jobs.start_workers()
    ref = await shop.jobs.pack.create(PARCEL)

    assert await ref.result(timeout=SOON) == Receipt(total=1)
    await eventually(lambda: count(tap, Step.ACK_CONFIRMED))
    assert not tap.waits
    assert runs == [1]
    assert [event.event async for event in ref.events()] == ["created", "started", "completed"]


async def test_an_acknowledgement_whose_connection_is_lost_is_sent_again(tap: Wiretap, shop: Shop) -> None:
    runs = runs_of(shop)

    def cut() -> bool:
        tap.cut()
        return False

    tap.at(Step.ACK_SENT, cut)
    await shop.jobs.start_workers()
    ref = await shop.jobs.pack.create(PARCEL)

    await eventually(lambda: count(tap, Step.ACK_CONFIRMED))
    assert not tap.waits
    assert (await ref.get()).state is JobState.COMPLETED
    assert (runs, count(tap, Step.DELIVERED, ref.id)) == ([1], 1)


class FastClock:
    """Moves the time of the event loop forward, for deadlines of seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        time = loop.time
        self._ahead = 0.0
        monkeypatch.setattr(loop, "time", lambda: time() + self._ahead)

    def move(self, by: timedelta) -> None:
        self._ahead += by.total_seconds()


async def test_an_acknowledgement_that_is_never_confirmed_is_given_up_and_the_job_runs_once(
    tap: Wiretap, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, clock, sent = runs_of(shop), FastClock(monkeypatch), asyncio.Semaphore(0)

    def lose() -> bool:
        sent.release()
        return False

    tap.at(Step.ACK_SENT, lose, times=3)
    with LogSignals() as logs:
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(PARCEL)
        for number in (1, 2, 3):
            await sent.acquire()
            assert len(logs.of(LogEvent.ACK_NOT_CONFIRMED)) == number - 1
            clock.move(timedelta(seconds=5))
            await logs.wait_for(LogEvent.ACK_NOT_CONFIRMED, count=number)

        await eventually(lambda: count(tap, Step.DELIVERED, ref.id) > 1)
        await eventually(lambda: count(tap, Step.ACK_SENT))
    assert (await ref.get()).state is JobState.COMPLETED
    assert runs == [1]


async def test_a_message_is_not_redelivered_while_the_outcome_is_stored(
    tap: Wiretap, shop: Shop, other: Shop
) -> None:
    """The heartbeats of the message go on until it is acknowledged."""
    runs = runs_of(shop)
    at_outcome = pause_at(tap, Step.OUTCOME_SENT)
    await shop.jobs.start_workers()
    ref = await other.jobs.pack.create(PARCEL)
    await at_outcome.wait()
    beats = count(tap, Step.PROGRESS_SENT, ref.id)
    await eventually(lambda: count(tap, Step.PROGRESS_SENT, ref.id) >= beats + HEARTBEATS)
    tap.heal()

    await eventually(lambda: count(tap, Step.ACK_CONFIRMED))
    assert (runs, count(tap, Step.DELIVERED, ref.id)) == ([1], 1)


@pytest.mark.parametrize("storing", [1, 2], ids=["in its worker", "elsewhere"])
async def test_a_job_whose_outcome_is_being_stored_does_not_begin_again(
    tap: Wiretap, shop: Shop, other: Shop, storing: int
) -> None:
    """As after a server that forgot a delivery: the handler has ended, and the job has no end yet.

    A worker with one permit takes no message while it stores two outcomes.
    """
    runs, lost = runs_of(shop), asyncio.Semaphore(0)

    def lose() -> bool:
        lost.release()
        return False

    tap.at(Step.OUTCOME_SENT, lose, times=storing)
    await shop.jobs.start_workers()
    refs = await other.jobs.pack.create_many([PARCEL] * storing)
    for _ in refs:
        await lost.acquire()
    others = runs_of(other)
    if storing == 2:
        await other.jobs.start_workers()
    created = await inspect_queue(other.jobs.pack).event_log.newest_of(refs[0].id, "created")
    assert created is not None
    with LogSignals() as logs:
        await publish_acked(other.jobs.runtime.connection, "trellis.work.shop.pack", created.event.encode())
        await logs.wait_for(LogEvent.JOB_REDELIVERED_LIVE, job_id=refs[0].id)
    tap.cut()

    for ref in refs:
        assert await ref.result(timeout=SOON) == Receipt(total=1)
    assert (runs, others) == ([1] * storing, [])


async def test_a_report_while_the_outcome_is_stored_is_dropped(tap: Wiretap, shop: Shop, other: Shop) -> None:
    """A handler that leaves a task behind: a report behind the end would make the job look active again."""
    at_outcome, reports = pause_at(tap, Step.OUTCOME_SENT), list[asyncio.Task[None]]()

    async def report(job: ParcelJob) -> None:
        await at_outcome.wait()
        await job.progress(step="too late")

    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        reports.append(asyncio.create_task(report(job)))
        return Receipt(total=1)

    with LogSignals() as logs:
        await shop.jobs.start_workers()
        ref = await other.jobs.pack.create(PARCEL)
        await at_outcome.wait()
        tap.heal()
        await logs.wait_for(LogEvent.REPORT_DROPPED, job_id=ref.id)
        await asyncio.gather(*reports)

    assert [event.event async for event in ref.events()] == ["created", "started", "completed"]


async def test_a_cancellation_that_is_stored_before_the_outcome_wins(
    tap: Wiretap, shop: Shop, other: Shop
) -> None:
    runs, at_outcome = runs_of(shop), asyncio.Event()

    def hold_back() -> bool:
        at_outcome.set()
        tap.cut()  # the outcome is lost on its way, and written again
        tap.blackhole()
        return False

    tap.at(Step.OUTCOME_SENT, hold_back)
    await shop.jobs.start_workers()
    ref = await other.jobs.pack.create(PARCEL)
    await at_outcome.wait()
    cancelled = await ref.cancel("too late for the handler")
    tap.heal()

    await eventually(lambda: count(tap, Step.ACK_CONFIRMED))
    assert cancelled.state is JobState.CANCELLED
    with pytest.raises(JobCancelled, match="too late for the handler"):
        await ref.result(timeout=SOON)
    assert runs == [1]


async def test_no_more_handlers_run_than_allowed_while_outcomes_are_stored(
    tap: Wiretap, shop: Shop, other: Shop
) -> None:
    """While outcomes of as many handlers as may run are being stored, others may begin, and no more than that."""
    running, most, begun, loses, is_later = 0, 0, 0, True, asyncio.Event()

    @shop.jobs.sort.handle
    async def sort(job: object) -> None:
        is_later.set()

    @shop.jobs.pack.handle(concurrency=3)
    async def pack(job: ParcelJob) -> Receipt:
        nonlocal running, most, begun
        running, begun = running + 1, begun + 1
        most = max(most, running)
        if job.payload.number % 2:
            await asyncio.sleep(0)
        running -= 1
        return Receipt(total=1)

    tap.at(Step.OUTCOME_SENT, lambda: not loses, times=1000)
    await shop.jobs.start_workers()
    refs = await other.jobs.pack.create_many([Parcel(number=number) for number in range(30)])
    await eventually(lambda: begun >= 6)
    await other.jobs.sort.create(PARCEL)
    await is_later.wait()  # a job that was created later has begun
    assert begun == 6
    loses = False
    tap.cut()
    for ref in refs:
        await ref.wait(timeout=SOON)

    assert most <= 3
    assert begun == 30
