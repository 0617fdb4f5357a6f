"""Our column: jobs created, worked and acknowledged by the runtime."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from trellis_nats import ActiveJob
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import consumer_info

from .service import CONSUMER, WITHOUT_DUTIES, Bench, Handled, Payload, Result, payload

IN_FLIGHT: Final = 64
"""So many creations at a time, in both columns."""
_POLL: Final = 0.002
"""Seconds between looks whether every work message is acknowledged, in both columns."""
_SAMPLES: Final = 200


@dataclass(frozen=True, slots=True)
class Rates:
    """Jobs per second."""

    created: float
    worked: float


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds, one of each kind per sample, on an idle queue."""

    create: list[float]
    """Until `create` has returned."""
    start: list[float]
    """From the call of `create` to the handler's first line, in the same process."""


async def rates(url: str, jobs: int, concurrency: int) -> Rates:
    """Create jobs, then work them.

    The first ones, as many as run at a time, have begun when the clock starts, and are not counted; the clock stops
    when the server has every acknowledgement.
    """
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        queue, handled = bench.jobs.work, Handled()
        queue.handle(concurrency=concurrency)(handled.work)
        began = time.perf_counter()
        for start in range(0, jobs, IN_FLIGHT):
            await asyncio.gather(
                *(queue.create(payload(n)) for n in range(start, min(start + IN_FLIGHT, jobs)))
            )
        created = time.perf_counter() - began
        await bench.jobs.start_workers()
        await _delivered(bench.jobs.runtime.connection, concurrency)
        began = time.perf_counter()
        handled.gate.set()
        await handled.reached(jobs)
        await _acknowledged(bench.jobs.runtime.connection)
        worked = time.perf_counter() - began
        return Rates(jobs / created, (jobs - concurrency) / worked)


async def latencies(url: str, samples: int = _SAMPLES) -> Latencies:
    """Create one job after another, each when the one before has been worked."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
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
            await _acknowledged(bench.jobs.runtime.connection)
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


async def _delivered(connection: Connection, count: int) -> None:
    while await _pending(connection) < count:  # noqa: ASYNC110 - the server tells only who asks
        await asyncio.sleep(_POLL)


async def _acknowledged(connection: Connection) -> None:
    while await _pending(connection) > 0:  # noqa: ASYNC110 - the server tells only who asks
        await asyncio.sleep(_POLL)


async def _pending(connection: Connection) -> int:
    """Return how many deliveries the server awaits an acknowledgement for."""
    info = await consumer_info(connection, "JOBS_WORK", CONSUMER)
    if info is None:
        raise RuntimeError(f"no consumer {CONSUMER}")
    return info.ack_pending
