"""Our column: python benchmarks/peers/with_trellis_nats.py URL JOBS CONCURRENCY."""

from __future__ import annotations

from typing import ClassVar

from trellis_nats import RUNTIME_API, ActiveJob, Contract, JobQueue, Jobs, JobSpec, Model, Runtime, Service
from trellis_nats._nats.jetstream.streams import get_consumer_info
from workload import (  # type: ignore[import-not-found]  # a neighbour, which scripts find
    TEXT,
    Handled,
    Rates,
    measured,
    report,
)


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
    """The service under test."""

    contract: ClassVar[Contract] = Contract(
        id="bench@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs = BenchJobs(runtime)


async def rates(url: str, jobs: int, concurrency: int) -> Rates:
    """Measure with every default except the concurrency."""
    async with Bench.connect(url) as bench:
        handled = Handled(jobs)

        @bench.jobs.work.handle(concurrency=concurrency)
        async def work(job: ActiveJob[Payload, Result]) -> Result:
            handled.count()
            return Result(number=job.payload.number)

        async def unfinished() -> int:
            info = await get_consumer_info(bench.jobs.runtime.connection, "JOBS_WORK", "bench__work")
            if info is None:
                raise LookupError("JOBS_WORK has no consumer bench__work")
            return info.pending + info.ack_pending

        return await measured(
            jobs,
            handled=handled,
            create=lambda number: bench.jobs.work.create(Payload(number=number, text=TEXT)),
            start=bench.jobs.start_workers,
            unfinished=unfinished,
        )


if __name__ == "__main__":
    report(rates)
