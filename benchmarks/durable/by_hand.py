"""The ceiling: the same JetStream operations by nats-py's own helpers, tuned, with no runtime.

It leaves out: validation of payloads and results, the fence that keeps two workers from writing one history, ids
that make a repeated write harmless, trace headers, heartbeats, cancellation, retries, and what happens on any error.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Final

from nats.aio.client import Client

from .ours import IN_FLIGHT, Rates
from .service import CONSUMER, PREFIX, TEXT, Bench

_BODY: Final = json.dumps({"payload": {"number": 1, "text": TEXT}}).encode()
_POLL: Final = 0.002


async def rates(url: str, jobs: int, concurrency: int) -> Rates:
    """Create jobs, then work them: fetched in batches of the concurrency, which run at the same time."""
    async with Bench.connect(url):
        pass  # makes the streams and the consumer
    client = Client()
    await client.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    stream = client.jetstream()  # pyright: ignore[reportUnknownMemberType] - likewise

    async def publish(number: int, event: str) -> object:
        return await stream.publish(f"{PREFIX}.J{number}.{event}", _BODY)

    async def run(message: object, number: int) -> None:
        await publish(number, "started")
        await publish(number, "completed")
        await message.ack_sync()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - a nats-py message

    began = time.perf_counter()
    for start in range(0, jobs, IN_FLIGHT):
        await asyncio.gather(*(publish(n, "created") for n in range(start, min(start + IN_FLIGHT, jobs))))
    created = time.perf_counter() - began
    work = await stream.pull_subscribe_bind(CONSUMER, stream="JOBS_WORK")
    done, began = 0, time.perf_counter()
    while done < jobs:
        batch = await work.fetch(concurrency, timeout=5)
        await asyncio.gather(*(run(message, done + n) for n, message in enumerate(batch)))
        done += len(batch)
    while (await stream.consumer_info("JOBS_WORK", CONSUMER)).num_ack_pending:  # noqa: ASYNC110 - the server tells only who asks
        await asyncio.sleep(_POLL)
    worked = time.perf_counter() - began
    await client.close()
    return Rates(jobs / created, jobs / worked)
