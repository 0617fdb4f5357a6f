"""Jobs with a concurrency key, a job for each key: by the runtime, and by hand with the same acknowledged operations.

By hand, a job takes the same seven: its entry, `created`, its slot, `started`, `completed`, the release, and the confirmed
acknowledgement, each of the three of the record behind the revision of the one before. That column leaves out what the
unkeyed one does (by_hand.py), and what a key is for: limits, leases, their renewal, takeovers, and the order of the jobs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from nats.aio.client import Client
from trellis_nats import (
    RUNTIME_API,
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

from .meter import Measured, Meter

if TYPE_CHECKING:
    from nats.js.client import JetStreamContext

__all__ = [
    "OPTIONS",
    "Bench",
    "BenchJob",
    "BenchQueue",
    "Payload",
    "by_hand",
    "elsewhere",
    "rate",
    "slices",
    "together",
]

TEXT: Final = "x" * 160
OPTIONS: Final = Options(
    request_timeout=timedelta(seconds=60),
    maintenance=Maintenance(rescue_every=None, purge_every=None, heartbeat_every=timedelta(hours=1)),
)
CONCURRENCY: Final = 64
IN_FLIGHT: Final = 64
"""How many creations run at a time."""
ROUNDS: Final = 4
"""How often each key gets a job where one process creates and another one works; the first time is not measured."""
_CONSUMER: Final = "keyed__keyed"
_POLL: Final = 0.002


class Payload(Model):
    """About 200 bytes."""

    key: int
    text: str = TEXT


BenchQueue = JobQueue[Payload, None]
BenchJob = ActiveJob[Payload, None]


class Plain(BenchQueue):
    """No key."""

    spec: ClassVar[JobSpec] = JobSpec(name="plain", payload=Payload, concurrency=CONCURRENCY)


class Keyed(BenchQueue):
    """One at a time for each key."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="keyed",
        payload=Payload,
        concurrency=CONCURRENCY,
        key=KeySpec(template=("/key",), max_queued=1_000),
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


class _Countdown:
    """A handler that counts its jobs."""

    def __init__(self, queue: BenchQueue) -> None:
        self._left = 0
        self._done = asyncio.Event()
        queue.handle(self._work)

    async def _work(self, _job: BenchJob) -> None:
        self._left -= 1
        if self._left == 0:
            self._done.set()

    def start(self, jobs: int) -> None:
        """Expect a number of jobs."""
        self._left = jobs
        self._done.clear()

    async def wait(self) -> None:
        """Wait until they were worked."""
        await self._done.wait()


def slices(keys: Sequence[int], size: int) -> list[Sequence[int]]:
    """Cut the keys into pieces."""
    return [keys[start : start + size] for start in range(0, len(keys), size)]


async def _create(queue: BenchQueue, keys: Sequence[int]) -> None:
    for batch in slices(keys, IN_FLIGHT):
        await asyncio.gather(*(queue.create(Payload(key=key)) for key in batch))


async def rate(bench: Bench, queue: BenchQueue, keys: Sequence[int], meter: Meter) -> Measured:
    """Create a job for each of the keys and work it."""
    count = _Countdown(queue)
    await bench.jobs.start_workers()
    count.start(len(keys))
    meter.start()
    await _create(queue, keys)
    await count.wait()
    return meter.stop(len(keys))


async def together(url: str, jobs: int, meter: Meter, *, pick: str) -> Measured:
    """Create and work jobs in one process, of new keys."""
    async with Bench.connect(url, options=OPTIONS) as bench:
        queue: BenchQueue = getattr(bench.jobs, pick)
        return await rate(bench, queue, range(jobs), meter)


async def elsewhere(url: str, jobs: int, meter: Meter) -> Measured:
    """Create jobs over one connection and work them over another, as web processes and workers do; the keys recur."""
    keys = range(jobs // (ROUNDS - 1))
    async with (
        Bench.connect(url, options=OPTIONS) as creator,
        Bench.connect(url, options=OPTIONS) as worker,
    ):
        count = _Countdown(worker.jobs.keyed)
        await worker.jobs.start_workers()
        for number in range(ROUNDS):
            if number == 1:
                meter.start()
            count.start(len(keys))
            await _create(creator.jobs.keyed, keys)
            await count.wait()
        return meter.stop(len(keys) * (ROUNDS - 1))


async def by_hand(url: str, jobs: int, meter: Meter) -> Measured:
    """Create and work jobs in one process with nats-py."""
    async with Bench.connect(url, options=OPTIONS):
        pass  # creates the streams, the bucket and the consumer
    client = Client()
    await client.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    try:
        stream = client.jetstream()  # pyright: ignore[reportUnknownMemberType] - likewise
        meter.start()
        await asyncio.gather(_create_by_hand(stream, jobs), _work_by_hand(stream, jobs))
        while (await stream.consumer_info("JOBS_WORK", _CONSUMER)).num_ack_pending:  # noqa: ASYNC110 - the server does not announce it
            await asyncio.sleep(_POLL)
        return meter.stop(jobs)
    finally:
        await client.close()


def _context(number: int) -> dict[str, str]:
    return {
        "requestId": f"{number:026}",
        "traceId": f"{number:032}",
        "traceparent": f"00-{number:032}-{number:016}-01",
    }


def _record(number: int, *, active: int = 0, queued: int = 0) -> bytes:
    """Encode a record with the members of those that the runtime writes."""
    slot = {
        "jobId": f"J{number}", "slotToken": f"{number:026}", "instanceId": f"{number:026}", "tries": 1,
        "startedAt": "2026-11-30T08:35:34.512Z", "heartbeatAt": "2026-11-30T08:35:34.512Z",
        "leaseExpiresAt": "2026-11-30T08:36:04.512Z", "context": _context(number),
    }  # fmt: skip
    entry = {
        "jobId": f"J{number}", "createdAt": "2026-11-30T08:35:34.512Z", "requestId": f"{number:026}",
        "context": _context(number),
    }  # fmt: skip
    record = {
        "version": 1, "service": "keyed", "jobType": "keyed", "key": str(number), "keyHash": f"{number:064x}",
        "maxActive": 1, "maxQueuedPerKey": 1_000, "active": [slot] * active, "queued": [entry] * queued,
        "staleTakeoverCount": 0, "updatedAt": "2026-11-30T08:35:34.512Z",
    }  # fmt: skip
    return json.dumps(record).encode()


async def _write(stream: JetStreamContext, number: int, record: bytes, revision: int) -> int:
    headers = {"Nats-Expected-Last-Subject-Sequence": str(revision)}
    name = f"$KV.JOBS_KEYS_keyed.keyed.keyed.{number:064x}"
    return (await stream.publish(name, record, headers=headers)).seq


def _event(number: int, event: str, revision: int) -> tuple[str, bytes]:
    body = {
        "jobId": f"J{number}", "eventType": event, "context": _context(number), "number": number, "revision": revision,
        "payload": {"key": number, "text": TEXT},
    }  # fmt: skip
    return f"trellis.jobs.keyed.keyed.J{number}.{event}", json.dumps(body).encode()


async def _create_by_hand(stream: JetStreamContext, jobs: int) -> None:
    async def create(number: int) -> None:
        revision = await _write(stream, number, _record(number, queued=1), 0)
        await stream.publish(*_event(number, "created", revision))

    for batch in slices(range(jobs), IN_FLIGHT):
        await asyncio.gather(*map(create, batch))


async def _work_by_hand(stream: JetStreamContext, jobs: int) -> None:
    async def work(message: object) -> None:
        job = json.loads(message.data)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - a nats-py message
        number: int = job["number"]
        revision = await _write(stream, number, _record(number, active=1), job["revision"])
        await stream.publish(*_event(number, "started", revision))
        await stream.publish(*_event(number, "completed", revision))
        await _write(stream, number, _record(number), revision)
        await message.ack_sync()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - likewise

    pulling = await stream.pull_subscribe_bind(_CONSUMER, stream="JOBS_WORK")
    done = 0
    while done < jobs:
        batch = await pulling.fetch(CONCURRENCY, timeout=5)
        await asyncio.gather(*map(work, batch))
        done += len(batch)
