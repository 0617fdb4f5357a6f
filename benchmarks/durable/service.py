"""The service under test: one queue with 200-byte payloads."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import ClassVar, Final

from trellis_nats import (
    RUNTIME_API,
    ActiveJob,
    Contract,
    JobQueue,
    Jobs,
    JobSpec,
    Maintenance,
    Model,
    Options,
    Runtime,
    Service,
)

TEXT: Final = "x" * 170
"""Makes a payload of about 200 bytes."""
CONSUMER: Final = "bench__work"
PREFIX: Final = "trellis.jobs.bench.work"
WITHOUT_DUTIES: Final = Options(
    request_timeout=timedelta(seconds=60), maintenance=Maintenance(rescue_every=None, purge_every=None)
)
"""The searches for lost and for old jobs, which run now and then in one instance of a service, are not measured."""


class Payload(Model):
    """About 200 bytes."""

    number: int
    text: str


class Result(Model):
    """The number again."""

    number: int


class Work(JobQueue[Payload, Result]):
    """The queue; its handler is registered with the concurrency that is measured."""

    spec: ClassVar[JobSpec] = JobSpec(name="work", payload=Payload, result=Result)


class BenchJobs(Jobs):
    """The only queue."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.work = Work(runtime)


class Bench(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="bench@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs = BenchJobs(runtime)


class Handled:
    """Counts the jobs that the handler received. The handler begins to work when the gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.count = 0
        self._wanted = 0
        self._reached = asyncio.Event()

    async def work(self, job: ActiveJob[Payload, Result]) -> Result:
        """Return the number."""
        if not self.gate.is_set():
            await self.gate.wait()
        self.count += 1
        if self.count >= self._wanted:
            self._reached.set()
        return Result(number=job.payload.number)

    async def reached(self, count: int) -> None:
        """Return when `count` jobs were worked."""
        self._wanted = count
        self._reached.clear()
        if self.count < count:
            await self._reached.wait()


def payload(number: int) -> Payload:
    """Return the payload of a job."""
    return Payload(number=number, text=TEXT)
