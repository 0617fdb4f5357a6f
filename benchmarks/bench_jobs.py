"""How fast are jobs, against the same JetStream operations done by hand with nats-py?

One process, one server with file storage, 200-byte payloads, the full durable lifecycle in both columns: created,
started and completed acknowledged by JetStream, and the work message acknowledged. The hand-made column has no
runtime, no validation, no fence and no heartbeats: it is the ceiling of nats-py's own helpers.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar

from nats.aio.client import Client
from rich.console import Console
from rich.table import Table
from trellis_nats import RUNTIME_API, ActiveJob, Contract, JobQueue, Jobs, JobSpec, Model, Runtime, Service
from trellis_nats.testing import NatsServer

JOBS = 2_000
ROUNDS = 3
CONCURRENCY = (1, 16, 256)
TEXT = "x" * 170


class Payload(Model):
    """About 200 bytes."""

    number: int
    text: str


class Result(Model):
    """The number again."""

    number: int


class One(JobQueue[Payload, Result]):
    """One handler at a time."""

    spec: ClassVar[JobSpec] = JobSpec(name="one", payload=Payload, result=Result, concurrency=1)


class Some(JobQueue[Payload, Result]):
    """16 at a time."""

    spec: ClassVar[JobSpec] = JobSpec(name="some", payload=Payload, result=Result, concurrency=16)


class Many(JobQueue[Payload, Result]):
    """256 at a time."""

    spec: ClassVar[JobSpec] = JobSpec(name="many", payload=Payload, result=Result, concurrency=256)


class BenchJobs(Jobs):
    """A queue for each concurrency."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.one = One(runtime)
        self.some = Some(runtime)
        self.many = Many(runtime)


class Bench(Service):
    """The service under test."""

    contract: ClassVar[Contract] = Contract(
        id="bench@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs = BenchJobs(runtime)


async def ours(pick: str) -> tuple[float, float, float]:
    """Return creates per second, jobs per second, and the median create-to-start of an idle queue in ms."""
    with NatsServer() as server:
        async with Bench.connect(server.url) as bench:
            queue: JobQueue[Payload, Result] = getattr(bench.jobs, pick)
            left, done, idle = JOBS, asyncio.Event(), asyncio.Event()
            started = 0.0

            @queue.handle
            async def work(job: ActiveJob[Payload, Result]) -> Result:
                nonlocal left, started
                started = time.perf_counter()
                left -= 1
                if left == 0:
                    done.set()
                if left < 0:
                    idle.set()
                return Result(number=job.payload.number)

            began = time.perf_counter()
            await in_batches(lambda n: queue.create(Payload(number=n, text=TEXT)))
            created = time.perf_counter()
            async with bench.jobs.follow() as events:
                await bench.jobs.start_workers()
                completed = 0
                async for event in events:
                    completed += event.event == "completed"
                    if completed == JOBS:
                        break
            ended = time.perf_counter()
            latencies: list[float] = []
            for n in range(50):
                idle.clear()
                at = time.perf_counter()
                await queue.create(Payload(number=n, text=TEXT))
                await idle.wait()
                latencies.append((started - at) * 1000)
            return JOBS / (created - began), JOBS / (ended - created), statistics.median(latencies)


async def by_hand(concurrency: int) -> tuple[float, float]:
    """Do the same operations with nats-py alone: creates per second, jobs per second."""
    with NatsServer() as server:
        async with Bench.connect(server.url):
            pass  # makes the streams and consumers
        client = Client()
        await client.connect(server.url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
        stream = client.jetstream()  # pyright: ignore[reportUnknownMemberType] - likewise
        name = {1: "one", 16: "some", 256: "many"}[concurrency]
        body = json.dumps({"payload": {"number": 1, "text": TEXT}}).encode()

        async def publish(n: int, event: str) -> object:
            return await stream.publish(f"trellis.jobs.bench.{name}.J{n}.{event}", body)

        began = time.perf_counter()
        await in_batches(lambda n: publish(n, "created"))
        created = time.perf_counter()
        work = await stream.pull_subscribe_bind(f"bench__{name}", stream="JOBS_WORK")
        done = 0

        async def run(message: object, n: int) -> None:
            await publish(n, "started")
            await publish(n, "completed")
            await message.ack_sync()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - a nats-py message

        while done < JOBS:
            batch = await work.fetch(concurrency, timeout=5)
            await asyncio.gather(*(run(message, done + n) for n, message in enumerate(batch)))
            done += len(batch)
        ended = time.perf_counter()
        await client.close()
        return JOBS / (created - began), JOBS / (ended - created)


async def in_batches(create: Callable[[int], Awaitable[object]], *, size: int = 64) -> None:
    """Create all jobs, so many at a time."""
    for start in range(0, JOBS, size):
        await asyncio.gather(*(create(n) for n in range(start, min(start + size, JOBS))))


async def main() -> None:
    """Print the table, and write the figures as JSON beside this file."""
    table = Table(title=f"{JOBS} jobs of 200 bytes, medians of {ROUNDS} rounds")
    for column in (
        "concurrency",
        "created/s",
        "by hand",
        "worked/s",
        "by hand",
        "ratio",
        "idle create→start",
    ):
        table.add_column(column, justify="right")
    figures: list[dict[str, float]] = []
    for name, concurrency in (("one", 1), ("some", 16), ("many", 256)):
        mine = [await ours(name) for _ in range(ROUNDS)]
        theirs = [await by_hand(concurrency) for _ in range(ROUNDS)]
        creates, works, idle = (statistics.median(column) for column in zip(*mine, strict=True))
        hand_creates, hand_works = (statistics.median(column) for column in zip(*theirs, strict=True))
        ratio = statistics.median(m[1] / t[1] for m, t in zip(mine, theirs, strict=True))
        table.add_row(
            str(concurrency),
            f"{creates:,.0f}",
            f"{hand_creates:,.0f}",
            f"{works:,.0f}",
            f"{hand_works:,.0f}",
            f"{ratio:.2f}",
            f"{idle:.2f} ms",
        )
        figures.append({"concurrency": concurrency, "worked": works, "by_hand": hand_works, "idle_ms": idle})
    console = Console()
    console.print(table)
    machine = (
        f"{os.cpu_count()} x {platform.processor() or platform.machine()}, Python {platform.python_version()}"
    )
    console.print(machine)
    Path(__file__).with_suffix(".json").write_text(
        json.dumps({"machine": machine, "rows": figures}, indent=2) + "\n"
    )


if __name__ == "__main__":
    asyncio.run(main())
