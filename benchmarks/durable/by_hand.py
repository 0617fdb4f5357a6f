"""The ceiling: the same JetStream operations by nats-py's own helpers, tuned, with no runtime.

It leaves out: validation of payloads and results, the fence that keeps two workers from writing one history, ids
that make a repeated write harmless, trace headers, heartbeats, cancellation, retries, and what happens on any error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from nats.aio.client import Client

from .meter import Measured, Meter
from .ours import IN_FLIGHT
from .service import CONSUMER, PREFIX, TEXT, Bench

if TYPE_CHECKING:
    from nats.js.client import JetStreamContext

__all__ = ["create", "work"]

_BODY: Final = json.dumps({"payload": {"number": 1, "text": TEXT}}).encode()
_POLL: Final = 0.002


async def create(url: str, jobs: int, meter: Meter) -> Measured:
    """Create jobs."""
    async with _connect(url) as stream:
        meter.start()
        await _create(stream, jobs)
        return meter.stop(jobs)


async def work(url: str, jobs: int, concurrency: int, meter: Meter) -> Measured:
    """Create jobs, then measure how they are worked: fetched in batches of the concurrency, which run concurrently."""
    async with _connect(url) as stream:

        async def run(message: object, number: int) -> None:
            await stream.publish(f"{PREFIX}.J{number}.started", _BODY)
            await stream.publish(f"{PREFIX}.J{number}.completed", _BODY)
            await message.ack_sync()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - a nats-py message

        await _create(stream, jobs)
        pulling = await stream.pull_subscribe_bind(CONSUMER, stream="JOBS_WORK")
        meter.start()
        done = 0
        while done < jobs:
            batch = await pulling.fetch(concurrency, timeout=5)
            await asyncio.gather(*(run(message, done + n) for n, message in enumerate(batch)))
            done += len(batch)
        while (await stream.consumer_info("JOBS_WORK", CONSUMER)).num_ack_pending:  # noqa: ASYNC110 - the server does not announce it
            await asyncio.sleep(_POLL)
        return meter.stop(jobs)


@asynccontextmanager
async def _connect(url: str) -> AsyncGenerator[JetStreamContext]:
    async with Bench.connect(url):
        pass  # creates the streams and the consumer
    client = Client()
    await client.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    try:
        yield client.jetstream()  # pyright: ignore[reportUnknownMemberType] - likewise
    finally:
        await client.close()


async def _create(stream: JetStreamContext, jobs: int) -> None:
    for start in range(0, jobs, IN_FLIGHT):
        numbers = range(start, min(start + IN_FLIGHT, jobs))
        await asyncio.gather(*(stream.publish(f"{PREFIX}.J{n}.created", _BODY) for n in numbers))
