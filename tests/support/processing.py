"""A small service with operations and its client, as trellis-gen would write them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar, Final, TypeAlias

from trellis_nats import (
    RUNTIME_API,
    ActiveOperation,
    Client,
    Contract,
    Maintenance,
    Model,
    OperationCall,
    OperationEndpoint,
    OperationRun,
    OperationSignal,
    OperationSpec,
    Options,
    Runtime,
    Service,
    SignalCall,
)

from tests.support.orders import BusyError, NotFoundError

__all__ = [
    "FIXED",
    "PROCESS",
    "QUICK",
    "Approval",
    "ApproveSignal",
    "FixedOperation",
    "FixedRun",
    "Hurry",
    "HurrySignal",
    "Process",
    "ProcessClient",
    "ProcessInput",
    "ProcessOperation",
    "ProcessOutput",
    "ProcessProgress",
    "ProcessRun",
    "ProcessService",
    "running",
]

CONTRACT: Final = Contract(id="proc@v1", digest="p" * 43, generator="0", runtime_api=RUNTIME_API)
QUICK: Final = Options(maintenance=Maintenance(lease=timedelta(seconds=1.5)), shutdown_grace=timedelta(0))
"""An operation whose process died is taken over within about 1.5 s."""


class ProcessInput(Model):
    """The request that starts the operation."""

    order_id: str
    mode: str = ""


class ProcessProgress(Model):
    """The progress."""

    step: int
    text: str = ""


class ProcessOutput(Model):
    """The result."""

    order_id: str
    status: str


class Approval(Model):
    """The input of a signal."""

    by: str


class Hurry(Model):
    """The input of another signal."""

    level: int


class ApproveSignal(OperationSignal[Approval]):
    """A signal."""

    name: ClassVar[str] = "approve"
    input_type: ClassVar[object] = Approval


class HurrySignal(OperationSignal[Hurry]):
    """Another signal."""

    name: ClassVar[str] = "hurry"
    input_type: ClassVar[object] = Hurry


PROCESS: Final = OperationSpec(
    name="Proc.Process",
    subject="operations.v1.Proc.Process",
    input=ProcessInput,
    output=ProcessOutput,
    progress=ProcessProgress,
    signals=(ApproveSignal, HurrySignal),
    cancel=True,
    errors=(NotFoundError, BusyError),
)
FIXED: Final = OperationSpec(
    name="Proc.Fixed", subject="operations.v1.Proc.Fixed", input=ProcessInput, output=ProcessOutput
)

ProcessOperation: TypeAlias = ActiveOperation[
    ProcessInput, ProcessProgress, ProcessOutput, ApproveSignal | HurrySignal
]
FixedOperation: TypeAlias = ActiveOperation[ProcessInput, None, ProcessOutput, None]


class ProcessSignals:
    """The signals of a run."""

    def __init__(self, run: OperationRun[ProcessProgress, ProcessOutput]) -> None:
        self.approve: Final = SignalCall[Approval](run, ApproveSignal)
        self.hurry: Final = SignalCall[Hurry](run, HurrySignal)


class ProcessRun(OperationRun[ProcessProgress, ProcessOutput]):
    """A handle on one operation."""

    @property
    def signal(self) -> ProcessSignals:
        """The signals that the operation takes while it runs."""
        return ProcessSignals(self)


class FixedRun(OperationRun[None, ProcessOutput]):
    """A handle on one operation."""


class ProcessService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.process: Final = OperationEndpoint[
            ProcessInput, ProcessProgress, ProcessOutput, ApproveSignal | HurrySignal
        ](runtime, PROCESS)
        self.fixed: Final = OperationEndpoint[ProcessInput, None, ProcessOutput, None](runtime, FIXED)


class ProcessClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.process: Final = OperationCall[ProcessInput, ProcessRun](runtime, PROCESS, ProcessRun)
        self.fixed: Final = OperationCall[ProcessInput, FixedRun](runtime, FIXED, FixedRun)


class Process:
    """A handler that a test steers, one operation at a time."""

    def __init__(self) -> None:
        self.operations: dict[str, ProcessOperation] = {}
        self.ended: list[str] = []
        self._steps: dict[str, asyncio.Queue[ProcessProgress | ProcessOutput | BaseException]] = {}

    def put(self, operation_id: str, step: ProcessProgress | ProcessOutput | BaseException) -> None:
        """Let an operation report progress, return or raise."""
        self._steps.setdefault(operation_id, asyncio.Queue()).put_nowait(step)

    async def handle(self, operation: ProcessOperation) -> ProcessOutput:
        """Run an operation."""
        self.operations[operation.id] = operation
        steps = self._steps.setdefault(operation.id, asyncio.Queue())
        try:
            while True:
                match await steps.get():
                    case ProcessProgress() as progress:
                        await operation.progress(progress)
                    case ProcessOutput() as output:
                        return output
                    case BaseException() as error:
                        raise error
        finally:
            self.ended.append(operation.id)


@asynccontextmanager
async def running(
    url: str, *, options: Options | None = None
) -> AsyncGenerator[tuple[ProcessService, Process, ProcessClient]]:
    """Run a service whose operations a test steers, and a client."""
    process = Process()
    async with (
        ProcessService.connect(url, options=options) as service,
        ProcessClient.connect(url) as client,
    ):
        service.process.handle(process.handle)
        await service.start()
        yield service, process, client
