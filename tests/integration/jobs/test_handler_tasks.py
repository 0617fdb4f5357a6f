"""What a handler does to its own task, to its context and to the memory stays with its attempt."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import JobFailed
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.faults.harness.wiretap import Step, Wiretap
from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=20)
PARCEL: Final = Parcel(number=1)
JOBS: Final = 100
MARK: Final = ContextVar("MARK", default="none")


def own_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def cancel_and_wait() -> None:
    own_task().cancel()
    await asyncio.sleep(0)


async def cancel_and_return() -> None:
    own_task().cancel()


async def be_cancelled() -> None:
    """Be cancelled by another task."""
    asyncio.get_running_loop().call_soon(own_task().cancel)
    await asyncio.Event().wait()


async def leak_and_wait() -> None:
    """Enter a time limit and never leave it; it cancels the task."""
    await asyncio.timeout(0).__aenter__()
    await asyncio.Event().wait()


@pytest.mark.parametrize("misbehave", [cancel_and_wait, cancel_and_return, be_cancelled, leak_and_wait])
async def test_a_handler_whose_task_is_cancelled_failed_in_this_attempt(
    nats_server: NatsServer, misbehave: Callable[[], Awaitable[None]]
) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle(concurrency=1)
        async def pack(job: ParcelJob) -> Receipt:
            if job.tries == 1:
                await misbehave()
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        refs = await shop.jobs.pack.create_many([PARCEL] * 2)

        for ref in refs:
            assert await ref.result(timeout=SOON) == Receipt(total=2)
            assert [event.error async for event in ref.events() if event.event == "retry"] == [
                "the handler cancelled itself"
            ]


async def swallow() -> None:
    """Swallow a cancellation, and leave the task's count of them as it is."""
    own_task().cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def leak() -> None:
    """Enter a time limit and never leave it; it ends after the handler."""
    await asyncio.timeout(0.01).__aenter__()


async def be_cancelled_later() -> None:
    """Be cancelled by another task when the handler has ended."""
    task, loop = own_task(), asyncio.get_running_loop()
    loop.call_soon(lambda: loop.call_soon(task.cancel))
    loop.call_later(0.01, task.cancel)


@pytest.mark.parametrize("misbehave", [swallow, leak, be_cancelled_later])
async def test_a_cancellation_that_outlasts_its_handler_changes_no_outcome(
    nats_server: NatsServer, misbehave: Callable[[], Awaitable[None]]
) -> None:
    async with Wiretap(nats_server.port) as tap, Shop.connect(tap.url) as shop:
        runs: list[int] = []

        @shop.jobs.pack.handle(concurrency=1, timeout=SOON)
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.tries)
            await misbehave()
            return Receipt(total=job.tries)

        fired = asyncio.Event()

        def hold_back() -> bool:
            tap.blackhole("to_client")
            asyncio.get_running_loop().call_later(0.03, fired.set)
            return True

        tap.at(Step.OUTCOME_SENT, hold_back)
        await shop.jobs.start_workers()
        first = await shop.jobs.pack.create(PARCEL)
        await fired.wait()
        tap.heal()

        assert await first.result(timeout=SOON) == Receipt(total=1)
        second = await shop.jobs.pack.create(PARCEL)
        assert await second.result(timeout=SOON) == Receipt(total=1)
        await eventually(lambda: sum(passage.step is Step.ACK_CONFIRMED for passage in tap.seen) == 2)
    assert runs == [1, 1]


def interrupted(url: str) -> list[str]:
    """Run a service whose handler raises KeyboardInterrupt, in an event loop of its own. Return its job."""
    jobs: list[str] = []

    async def serve() -> None:
        async with Shop.connect(url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                jobs.append(job.id)
                raise KeyboardInterrupt

            await shop.jobs.start_workers()
            await shop.jobs.pack.create(PARCEL)
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(serve())
    return jobs


async def test_an_interrupt_ends_the_program_and_the_job_runs_elsewhere(nats_server: NatsServer) -> None:
    """Ctrl+C may arrive while a handler runs: it is about the program, not about the job."""
    jobs = await asyncio.to_thread(interrupted, nats_server.url)
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=7)

        await shop.jobs.start_workers()
        assert len(jobs) == 1
        assert await shop.jobs.pack.ref(jobs[0]).result(timeout=SOON) == Receipt(total=7)


async def test_what_a_handler_sets_in_its_context_reaches_no_other_code(nats_server: NatsServer) -> None:
    seen: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if vars(record).get("event_name") == LogEvent.JOB_RETRIED:
                seen.append(f"worker: {MARK.get()}")

    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle(concurrency=1)
        async def pack(job: ParcelJob) -> Receipt:
            seen.append(f"handler: {MARK.get()}")
            MARK.set(job.id)
            if job.payload.number == 1 and job.tries == 1:
                raise ConnectionError
            return Receipt(total=1)

        recorder, logger = Recorder(), logging.getLogger("trellis_nats")
        with LogSignals():
            logger.addHandler(recorder)
            await shop.jobs.start_workers()
            token = MARK.set("caller")
            refs = await shop.jobs.pack.create_many([PARCEL, Parcel(number=2)])
            MARK.reset(token)
            for ref in refs:
                await ref.result(timeout=SOON)
            logger.removeHandler(recorder)

    assert sorted(seen) == ["handler: none"] * 3 + ["worker: none"]
    assert MARK.get() == "none"


async def test_the_task_of_a_handler_is_named_after_its_job(nats_server: NatsServer) -> None:
    """Debuggers and `asyncio.all_tasks()` show it."""
    async with Shop.connect(nats_server.url) as shop:
        names: dict[str, str] = {}

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            names[job.id] = own_task().get_name()
            assert own_task() in asyncio.all_tasks()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        refs = await shop.jobs.pack.create_many([PARCEL] * 2)
        for ref in refs:
            await ref.result(timeout=SOON)

    assert names == {ref.id: f"job pack {ref.id}" for ref in refs}


@contextmanager
def without_collector() -> Generator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", ["completed", "failed", "keyed"])
async def test_a_job_that_ended_leaves_nothing_to_the_garbage_collector(
    nats_server: NatsServer, kind: str
) -> None:
    """A cycle for each job would let the collector run far more often, and keep payloads until then."""
    async with Shop.connect(nats_server.url) as shop:
        payloads: list[weakref.ref[Parcel]] = []
        queue = shop.jobs.ship if kind == "keyed" else shop.jobs.pack

        @queue.handle(concurrency=8)
        async def work(job: ParcelJob) -> Receipt:
            payloads.append(weakref.ref(job.payload))
            await asyncio.sleep(0)
            if kind == "failed":
                raise JobFailed("on purpose")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        await (await queue.create(PARCEL)).wait(timeout=SOON)
        with without_collector():
            await queue.create_many(Parcel(number=number) for number in range(10, 10 + JOBS))
            await eventually(lambda: len(payloads) == 1 + JOBS)
            await eventually(lambda: not any(payload() for payload in payloads))
            found = gc.collect()

    assert found < JOBS  # a cycle has several objects, for each job
