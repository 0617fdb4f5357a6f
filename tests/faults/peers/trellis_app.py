"""Ours: with the argument `worker` a worker, else the producer."""

import asyncio
import sys
from datetime import timedelta
from typing import ClassVar

from telling import (  # type: ignore[import-not-found]  # a neighbour, which scripts find
    ACK_WAIT,
    URL,
    Create,
    handle,
    produce,
)
from trellis_nats import RUNTIME_API, ActiveJob, Contract, JobQueue, Jobs, JobSpec, Model, Runtime, Service


class Payload(Model):
    number: int
    seconds: float


class WorkQueue(JobQueue[Payload, None]):
    spec: ClassVar[JobSpec] = JobSpec(
        name="work", payload=Payload, ack_wait=timedelta(seconds=ACK_WAIT), concurrency=16
    )


class PeersJobs(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.work = WorkQueue(runtime)


class Peers(Service):
    contract: ClassVar[Contract] = Contract(
        id="peers@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs = PeersJobs(runtime)


async def worker() -> None:
    async with Peers.connect(URL) as peers:

        @peers.jobs.work.handle
        async def work(job: ActiveJob[Payload, None]) -> None:
            await handle(job.payload.number, job.payload.seconds)

        await peers.run()


async def producer() -> None:
    connection = Peers.connect(URL)

    async def connect() -> Create:
        peers = await connection.__aenter__()
        return lambda number, seconds: peers.jobs.work.create(Payload(number=number, seconds=seconds))

    await produce(connect)


if __name__ == "__main__":
    asyncio.run(worker() if sys.argv[1:] == ["worker"] else producer())
