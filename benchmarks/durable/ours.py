"""Our column: jobs created, worked and acknowledged by the runtime."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client
from trellis_nats import ActiveJob

from .meter import Measured, Meter
from .service import CONSUMER, WITHOUT_DUTIES, Bench, Handled, Payload, Result, payload

__all__ = ["IN_FLIGHT", "Latencies", "create", "creation", "latencies", "watch", "work"]

IN_FLIGHT: Final = 64
"""How many creations run at a time, in both columns."""
_POLL: Final = 0.002
"""Seconds between two questions whether every work message is acknowledged, in both columns."""
_PATIENCE: Final = 60
_SAMPLES: Final = 200


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds, one of each kind per sample, on an idle queue."""

    create: list[float]
    """Until `create` has returned."""
    start: list[float]
    """From the call of `create` to the handler's first line, in the same process."""


async def create(url: str, jobs: int, meter: Meter) -> Measured:
    """Create jobs."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        meter.start()
        await _create(bench, jobs)
        return meter.stop(jobs)


async def work(url: str, jobs: int, concurrency: int, meter: Meter) -> Measured:
    """Create jobs, then measure how they are worked.

    The first ones, as many as run concurrently, have begun when the clock starts, and are not counted; the clock stops
    when the server has every acknowledgement.
    """
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench, watch(url) as pending:
        queue, handled = bench.jobs.work, Handled()
        queue.handle(concurrency=concurrency)(handled.work)
        await _create(bench, jobs)
        await bench.jobs.start_workers()
        while await pending() < concurrency:  # noqa: ASYNC110 - the server does not announce it
            await asyncio.sleep(_POLL)
        meter.start()
        handled.gate.set()
        await handled.reached(jobs)
        await _acknowledged(pending)
        return meter.stop(jobs - concurrency)


async def latencies(url: str, samples: int = _SAMPLES) -> Latencies:
    """Create one job after another, each when the one before has been worked."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench, watch(url) as pending:
        started: asyncio.Queue[float] = asyncio.Queue()
        queue, handled = bench.jobs.work, Handled()
        handled.gate.set()

        @queue.handle
        async def work(job: ActiveJob[Payload, Result]) -> Result:  # pyright: ignore[reportUnusedFunction] - registered
            started.put_nowait(time.perf_counter())
            return await handled.work(job)

        await bench.jobs.start_workers()
        found = Latencies([], [])
        for number in range(samples):
            began = time.perf_counter()
            await queue.create(payload(number))
            found.create.append((time.perf_counter() - began) * 1000)
            found.start.append((await started.get() - began) * 1000)
            await _acknowledged(pending)
        return found


async def creation(url: str, jobs: int) -> tuple[float, float]:
    """Return the jobs per second of one `create` after another, and of `create_many`."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        queue = bench.jobs.work
        began = time.perf_counter()
        for number in range(jobs):
            await queue.create(payload(number))
        single = time.perf_counter() - began
        began = time.perf_counter()
        await queue.create_many(payload(number) for number in range(jobs))
        return jobs / single, jobs / (time.perf_counter() - began)


async def _create(bench: Bench, jobs: int) -> None:
    for start in range(0, jobs, IN_FLIGHT):
        numbers = range(start, min(start + IN_FLIGHT, jobs))
        await asyncio.gather(*(bench.jobs.work.create(payload(n)) for n in numbers))


async def _acknowledged(pending: Callable[[], Awaitable[int]]) -> None:
    while await pending() > 0:  # noqa: ASYNC110 - the server does not announce it
        await asyncio.sleep(_POLL)


@asynccontextmanager
async def watch(url: str) -> AsyncGenerator[Callable[[], Awaitable[int]]]:
    """Give a function that returns how many deliveries the server awaits an acknowledgement for."""
    client = Client()
    await client.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped

    async def pending() -> int:
        answer = await client.request(f"$JS.API.CONSUMER.INFO.JOBS_WORK.{CONSUMER}", timeout=_PATIENCE)  # pyright: ignore[reportUnknownMemberType] - likewise
        return int(json.loads(answer.data)["num_ack_pending"])

    try:
        yield pending
    finally:
        await client.close()
