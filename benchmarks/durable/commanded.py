"""A process that a benchmark commands: it prepares on a command, begins at the next line, and says what it took.

Commands are JSON arrays on standard input: `["work", URL, CONCURRENCY]` works jobs until the line after "go",
`["create", URL, JOBS]` creates jobs, and `["publish", URL, COUNT]` publishes by nats-py as many messages as a job has events,
each acknowledged. It prints `ready` when it waits for "go", and then the seconds of CPU time that it used.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from durable.ours import IN_FLIGHT  # type: ignore[import-not-found]  # neighbours, found by the line above
from durable.service import PREFIX, TEXT, WITHOUT_DUTIES, Bench, Handled, payload  # type: ignore[import-not-found]  # likewise
from nats.aio.client import Client

_BODY: Final = json.dumps({"payload": {"number": 1, "text": TEXT}}).encode()


async def read_line() -> str:
    """Return the next line that the benchmark sends; empty when it has ended."""
    return await asyncio.to_thread(sys.stdin.readline)


async def measure(phase: Callable[[], Awaitable[None]]) -> None:
    """Wait for "go", run a phase, and say what CPU time it took."""
    print("ready", flush=True)
    await read_line()
    began = time.process_time()
    await phase()
    print(time.process_time() - began, flush=True)


async def work(url: str, concurrency: int) -> None:
    """Work jobs from "go" to the next line."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        handled = Handled()
        bench.jobs.work.handle(concurrency=concurrency)(handled.work)
        await bench.jobs.start_workers()

        async def run() -> None:
            handled.gate.set()
            await read_line()

        await measure(run)


async def create(url: str, jobs: int) -> None:
    """Create jobs."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:

        async def run() -> None:
            await in_windows(jobs, lambda number: bench.jobs.work.create(payload(number)))

        await measure(run)


async def publish(url: str, count: int) -> None:
    """Publish messages with nats-py, each acknowledged, into the stream and of the size of a job's events."""
    client = Client()
    await client.connect(url.split(","))  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    try:
        stream = client.jetstream()  # pyright: ignore[reportUnknownMemberType] - likewise

        async def run() -> None:
            await in_windows(count, lambda number: stream.publish(f"{PREFIX}.P{number}.started", _BODY))

        await measure(run)
    finally:
        await client.close()


async def in_windows(count: int, act: Callable[[int], Awaitable[object]]) -> None:
    """Do something so many times, with as many in flight as the other benchmarks have."""
    for start in range(0, count, IN_FLIGHT):
        await asyncio.gather(*(act(number) for number in range(start, min(start + IN_FLIGHT, count))))


async def main() -> None:
    """Follow commands until standard input ends."""
    while line := await read_line():
        match json.loads(line):
            case ["work", str(url), int(concurrency)]:
                await work(url, concurrency)
            case ["create", str(url), int(jobs)]:
                await create(url, jobs)
            case ["publish", str(url), int(count)]:
                await publish(url, count)
            case command:
                raise ValueError(f"unknown command: {command}")


if __name__ == "__main__":
    asyncio.run(main())
