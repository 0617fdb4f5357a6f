"""What do spans cost, and what does a program pay that does not trace?

Each run is a process and a server of its own: jobs are created one after the other, then worked. `off` has not imported
OpenTelemetry, `api` has imported its API without a tracer provider, `spans` has a provider and a batch processor whose exporter
drops the spans. Figures are medians of processor time, so that other work on the machine matters less.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import ClassVar, Final, cast

from machine import describe_machine  # type: ignore[import-not-found]  # a neighbour, which scripts find
from rich.console import Console
from rich.table import Table
from trellis_nats import RUNTIME_API, ActiveJob, Contract, JobQueue, Jobs, JobSpec, Model, Runtime, Service
from trellis_nats.testing import NatsServer

ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "5"))
JOBS: Final = int(os.environ.get("BENCH_JOBS", "2000"))
MODES: Final = ("off", "api", "spans")


class Work(Model):
    """A payload."""

    number: int


class WorkQueue(JobQueue[Work, None]):
    """A queue."""

    spec: ClassVar[JobSpec] = JobSpec(name="work", payload=Work, concurrency=16)


class BenchJobs(Jobs):
    """The queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.work: Final = WorkQueue(runtime)


class Bench(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="bench@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = BenchJobs(runtime)


def configure(mode: str) -> None:
    """Load as much of OpenTelemetry as the mode asks for."""
    if mode == "off":
        return
    from opentelemetry import trace  # noqa: PLC0415 - what is loaded is the question

    if mode == "spans":
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace.export import (  # noqa: PLC0415 - likewise
            BatchSpanProcessor,
            SpanExporter,
            SpanExportResult,
        )

        class Drop(SpanExporter):
            def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
                del spans
                return SpanExportResult.SUCCESS

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Drop()))
        trace.set_tracer_provider(provider)


async def measure() -> dict[str, float]:
    """Return the microseconds of processor time for a creation and for an attempt."""
    with NatsServer() as server:
        async with Bench.connect(server.url) as service:
            done, left = asyncio.Event(), JOBS

            @service.jobs.work.handle
            async def work(job: ActiveJob[Work, None]) -> None:
                nonlocal left
                del job
                left -= 1
                if left == 0:
                    done.set()

            started = time.process_time()
            for number in range(JOBS):
                await service.jobs.work.create(Work(number=number))
            created = time.process_time()
            await service.jobs.start_workers()
            await done.wait()
            worked = time.process_time()
    return {"create": (created - started) / JOBS * 1e6, "work": (worked - created) / JOBS * 1e6}


def main() -> None:
    """Measure in processes, in turn, and print the medians."""
    if len(sys.argv) > 1:
        configure(sys.argv[1])
        sys.stdout.write(json.dumps(asyncio.run(measure())))
        return
    runs: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    for _ in range(ROUNDS):
        for mode in MODES:
            command = [sys.executable, __file__, mode]
            run = subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
            runs[mode].append(cast("dict[str, float]", json.loads(run.stdout)))
    table = Table("OpenTelemetry", "create, µs", "attempt, µs", title=f"{JOBS:,} jobs, {ROUNDS} rounds")
    for mode in MODES:
        medians = [statistics.median(found[part] for found in runs[mode]) for part in ("create", "work")]
        table.add_row(mode, *(f"{median:.0f}" for median in medians))
    Console().print(table, describe_machine())


if __name__ == "__main__":
    main()
