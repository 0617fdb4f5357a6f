"""What does a concurrency key cost?

One server with file storage, 200-byte payloads, one process. Throughput is create and full work together, keyed with so
many keys and unkeyed in the same round. Several connections ask for the hot key at the same time. What lies
between two jobs of a busy key is measured from a handler's end to the next one's beginning.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final
from unittest.mock import patch

from rich.console import Console
from rich.table import Table
from trellis_nats import (
    RUNTIME_API,
    Accepted,
    ActiveJob,
    Contract,
    JobQueue,
    Jobs,
    JobSpec,
    KeySpec,
    Maintenance,
    Model,
    Options,
    Runtime,
    Service,
)
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.link.backoff import Backoff
from trellis_nats.testing import NatsServer

ROUNDS: Final = 3
KEYS: Final = 10_000
BUSY: Final = ((20, 10), (200, 2))
"""How many jobs of one key wait at first, and how often that is measured."""
SUBMISSIONS: Final = 300
SUBMITTERS: Final = (1, 10, 50)
STORED_KEYS: Final = (100, 1_000, 10_000, 100_000)
COST_JOBS: Final = 500
TEXT: Final = "x" * 160
OPTIONS: Final = Options(
    maintenance=Maintenance(rescue_every=None, purge_every=None, heartbeat_every=timedelta(hours=1))
)


class Payload(Model):
    """About 200 bytes."""

    key: int
    text: str = TEXT


BenchQueue = JobQueue[Payload, None]
BenchJob = ActiveJob[Payload, None]


class Plain(BenchQueue):
    """No key."""

    spec: ClassVar[JobSpec] = JobSpec(name="plain", payload=Payload, concurrency=64)


class Keyed(BenchQueue):
    """One at a time for each key."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="keyed", payload=Payload, concurrency=64, key=KeySpec(template=("/key",), max_queued=1_000)
    )


class Hot(BenchQueue):
    """Its jobs are never worked: only the submissions are measured."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="hot", payload=Payload, key=KeySpec(template=("/key",), max_queued=10_000)
    )


class BenchJobs(Jobs):
    """The queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.plain = Plain(runtime)
        self.keyed = Keyed(runtime)
        self.hot = Hot(runtime)


class Bench(Service):
    """The service under test."""

    contract: ClassVar[Contract] = Contract(
        id="keyed@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs = BenchJobs(runtime)


async def worked(pick: str, keys: Sequence[int]) -> float:
    """Return how many jobs per second are created and worked, one for each of the keys."""
    with NatsServer() as server:
        async with Bench.connect(server.url, options=OPTIONS) as bench:
            queue: BenchQueue = getattr(bench.jobs, pick)
            return await rate(bench, queue, keys)


async def rate(bench: Bench, queue: BenchQueue, keys: Sequence[int]) -> float:
    """Create a job for each of the keys and work it; return how many per second."""
    left, done = len(keys), asyncio.Event()

    @queue.handle
    async def work(_job: BenchJob) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    await bench.jobs.start_workers()
    began = time.perf_counter()
    for batch in slices(keys, 64):
        await asyncio.gather(*(queue.create(Payload(key=key)) for key in batch))
    await done.wait()
    return len(keys) / (time.perf_counter() - began)


def slices(keys: Sequence[int], size: int) -> list[Sequence[int]]:
    """Cut the keys into pieces."""
    return [keys[start : start + size] for start in range(0, len(keys), size)]


async def between_two_jobs(count: int) -> list[float]:
    """Return the milliseconds from a handler's end to the next one's beginning, of one key, over two connections.

    At first `count` jobs wait: the fewer they are, the smaller the record.
    """
    waits: list[float] = []
    with NatsServer() as server:
        async with (
            Bench.connect(server.url, options=OPTIONS) as bench,
            Bench.connect(server.url, options=OPTIONS) as other,
        ):
            ended: float | None = None
            done = asyncio.Event()

            async def work(_job: BenchJob) -> None:
                nonlocal ended
                at = time.perf_counter()
                if ended is not None:
                    waits.append((at - ended) * 1000)
                if len(waits) == count - 1:
                    done.set()
                await asyncio.sleep(0)
                ended = time.perf_counter()

            for each in (bench, other):
                each.jobs.keyed.handle(work)
            await asyncio.gather(*(bench.jobs.keyed.create(Payload(key=1)) for _ in range(count)))
            for each in (bench, other):
                await each.jobs.start_workers()
            await done.wait()
    return waits


async def submitted(submitters: int) -> tuple[float, float]:
    """Return how many jobs of one hot key are accepted per second, and how often a write came second, per admission."""
    conflicts, pause = 0, Backoff.next

    def counted(backoff: Backoff) -> timedelta:
        nonlocal conflicts
        conflicts += 1
        return pause(backoff)

    with (
        NatsServer() as server,
        patch.object(Backoff, "next", counted),
    ):  # each pause is a write that came second
        async with AsyncExitStack() as stack:
            benches = [
                await stack.enter_async_context(Bench.connect(server.url, options=OPTIONS))
                for _ in range(submitters)
            ]
            began = time.perf_counter()
            each = SUBMISSIONS // submitters
            outcomes = await asyncio.gather(*(one_after_another(bench, each) for bench in benches))
            taken = time.perf_counter() - began
    return sum(outcomes) / taken, conflicts / sum(outcomes)


async def one_after_another(bench: Bench, count: int) -> int:
    """Submit jobs of the hot key; return how many were accepted."""
    outcomes = [await bench.jobs.hot.submit(Payload(key=1)) for _ in range(count)]
    return sum(isinstance(outcome, Accepted) for outcome in outcomes)


async def main() -> None:
    """Print the tables, and write the figures as JSON next to this file."""
    console = Console()
    machine = f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}"
    console.print(machine)
    pairs = [(await worked("keyed", range(KEYS)), await worked("plain", range(KEYS))) for _ in range(ROUNDS)]
    keyed, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    console.print(f"{KEYS} keys, a job each: {keyed:,.0f}/s keyed, {plain:,.0f}/s unkeyed, ratio {ratio:.2f}")
    handed: list[tuple[int, float, float]] = []
    for count, times in BUSY:
        waits = [wait for _ in range(times) for wait in await between_two_jobs(count)]
        handed.append((count, statistics.median(waits), statistics.quantiles(waits, n=100)[98]))
        console.print(
            f"end to next start, {count} jobs of a key: p50 {handed[-1][1]:.2f} ms, p99 {handed[-1][2]:.2f} ms"
        )
    hot = Table("submitters of one key", "accepted/s", "conflicts per admission")
    rows = [(count, *await submitted(count)) for count in SUBMITTERS]
    for submitters, accepted, conflicts in rows:
        hot.add_row(str(submitters), f"{accepted:,.0f}", f"{conflicts:.2f}")
    console.print(hot)
    costs = Table("keys", "jobs/s")
    rates: list[tuple[int, float]] = []
    for keys in STORED_KEYS:
        rates.append((keys, await measure_with_stored_keys(keys)))
        costs.add_row(f"{keys:,}", f"{rates[-1][1]:,.0f}")
    console.print(costs)
    figures = {"machine": machine, "ratio": ratio, "keyed": keyed, "plain": plain, "handed": handed}
    Path(__file__).with_suffix(".json").write_text(
        json.dumps({**figures, "hot": rows, "cost": rates}, indent=2) + "\n"
    )


async def measure_with_stored_keys(keys: int) -> float:
    """Return the jobs per second of 500 keys, a job each, while the bucket holds the records of other keys."""
    spread = range(COST_JOBS)
    with NatsServer() as server:
        async with Bench.connect(server.url, options=OPTIONS) as bench:
            queue, connection = bench.jobs.keyed, bench.jobs.runtime.connection
            for batch in slices(range(keys), 1_000):
                names = [f"$KV.JOBS_KEYS_keyed.keyed.other.{number:064x}" for number in batch]
                await asyncio.gather(*(publish_acked(connection, name, b"{}") for name in names))
            return await rate(bench, queue, spread)


if __name__ == "__main__":
    asyncio.run(main())
