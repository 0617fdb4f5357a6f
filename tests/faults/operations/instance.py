"""A process that serves operations, to be killed. What its handlers do, it appends to a file that all processes share.

The lines of several processes stand there in the order in which it happened: `<pid> <what> <operation> <attempt> <detail>`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from pydantic import BaseModel
from trellis_nats import (
    ActiveJob,
    Deferred,
    JobQueue,
    Jobs,
    JobSpec,
    Maintenance,
    Options,
    ResumePolicy,
    Runtime,
)

from tests.support.processing import (
    ApproveSignal,
    ProcessInput,
    ProcessOperation,
    ProcessOutput,
    ProcessProgress,
    ProcessService,
)

__all__ = ["InstanceSettings", "KilledService", "result_of"]


class InstanceSettings(BaseModel):
    """What an instance is given."""

    url: str
    lines: Path
    resume: ResumePolicy
    lease_seconds: float


class PackQueue(JobQueue[ProcessInput, ProcessOutput]):
    """The queue of the jobs that operations follow."""

    spec: ClassVar[JobSpec] = JobSpec(name="pack", payload=ProcessInput, result=ProcessOutput)


class PackJobs(Jobs):
    """The queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pack: Final = PackQueue(runtime)


class KilledService(ProcessService):
    """The service."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = PackJobs(runtime)


def result_of(order_id: str) -> ProcessOutput:
    """Return how an operation completes."""
    return ProcessOutput(order_id=order_id, status="done")


class _Lines:
    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def write(self, what: str, operation: ProcessOperation, detail: object = "-") -> None:
        os.write(self._file, f"{os.getpid()} {what} {operation.id} {operation.attempt} {detail}\n".encode())


async def _work(
    operation: ProcessOperation, service: KilledService, lines: _Lines
) -> ProcessOutput | Deferred:
    async def report(step: int) -> None:
        await operation.progress(ProcessProgress(step=step))
        lines.write("stored", operation, step)

    mode = operation.input.mode
    await report(1)
    await report(2)
    if mode == "hold":
        for step in range(3, 10_000):
            await report(step)
            await asyncio.sleep(0.05)
    if mode != "short":
        async for taken in operation.signals():
            lines.write("signal", operation, taken.sequence)
            if isinstance(taken, ApproveSignal):
                break
        operation.raise_if_cancelled()
        await report(3)
    if mode == "attach":
        return await operation.attach(await service.jobs.pack.create(operation.input))
    if mode == "defer":
        return await operation.defer()
    return result_of(operation.input.order_id)


async def main(settings: InstanceSettings) -> None:
    """Serve until SIGTERM."""
    lines = _Lines(settings.lines)
    options = Options(
        maintenance=Maintenance(lease=timedelta(seconds=settings.lease_seconds)), shutdown_grace=timedelta(0)
    )
    async with KilledService.connect(settings.url, options=options) as service:

        @service.jobs.pack.handle
        async def pack(job: ActiveJob[ProcessInput, ProcessOutput]) -> ProcessOutput:
            return result_of(job.payload.order_id)

        @service.process.handle(resume=settings.resume)
        async def process(operation: ProcessOperation) -> ProcessOutput | Deferred:
            lines.write("began", operation)
            try:
                return await _work(operation, service, lines)
            finally:
                lines.write("ended", operation)

        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await service.start()
        sys.stdout.write("serves\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(InstanceSettings.model_validate_json(sys.argv[1])))
