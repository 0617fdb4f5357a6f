"""Signals, operations that are left open, and operations that follow a job."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

import pytest
from pydantic import JsonValue
from trellis_nats import (
    ActiveJob,
    ActiveOperation,
    Deferred,
    JobCancelled,
    JobFailed,
    JobQueue,
    Jobs,
    JobSpec,
    OperationAlreadyTerminal,
    OperationCancelled,
    OperationMismatch,
    OperationState,
    Runtime,
    UnexpectedError,
    ValidationError,
)
from trellis_nats.operations.frames import ControlRequest
from trellis_nats.operations.host import host_of
from trellis_nats.operations.link import OperationLink
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.orders import NotFoundError
from tests.support.processing import (
    PROCESS,
    Approval,
    ApproveSignal,
    Hurry,
    HurrySignal,
    ProcessClient,
    ProcessInput,
    ProcessOperation,
    ProcessOutput,
    ProcessProgress,
    ProcessService,
    running,
)

REQUEST = ProcessInput(order_id="o1")
DONE = ProcessOutput(order_id="o1", status="done")


async def test_signals_reach_the_handler_typed_and_in_order(nats_server: NatsServer) -> None:
    received: list[str] = []

    async with (
        ProcessService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @service.process.handle
        async def process(operation: ProcessOperation) -> ProcessOutput:
            async for signal in operation.signals():
                match signal:
                    case HurrySignal(input=hurry):
                        received.append(f"hurry {hurry.level}")
                    case ApproveSignal(input=approval, sequence=sequence):
                        return ProcessOutput(
                            order_id=operation.input.order_id, status=f"{approval.by} {sequence}"
                        )
            return DONE

        await service.start()
        run = await client.process.start(REQUEST)
        for level in range(5):
            accepted = await run.signal.hurry(Hurry(level=level))
            assert accepted.sequence == level + 1
        await run.signal.approve(Approval(by="me"))

        assert (await run.result()).status == "me 6"
        with pytest.raises(OperationAlreadyTerminal):
            await run.signal.hurry(Hurry(level=9))

    assert received == [f"hurry {level}" for level in range(5)]


async def test_the_iteration_over_signals_ends_when_the_operation_is_cancelled(
    nats_server: NatsServer,
) -> None:
    ended = asyncio.Event()

    async with (
        ProcessService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @service.process.handle
        async def process(operation: ProcessOperation) -> ProcessOutput:
            async for _ in operation.signals():
                pass
            ended.set()
            operation.raise_if_cancelled()
            return DONE

        await service.start()
        run = await client.process.start(REQUEST)
        await run.cancel()
        await asyncio.wait_for(ended.wait(), 10)


async def test_a_signal_that_does_not_match_the_contract_is_refused(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        link = OperationLink(client.runtime, PROCESS)
        wrong: list[tuple[str, JsonValue, str]] = [
            ("nope", None, "/signal"),
            ("hurry", {"level": "x"}, "#/level"),
        ]
        for name, value, path in wrong:
            asked = ControlRequest(action="signal", operation_id=run.id, signal=name, input=value)
            with pytest.raises(ValidationError) as caught:
                await link.control(asked)
            assert [issue[0] for issue in caught.value.issues] == [path]
        process.put(run.id, DONE)
        await run.result()


async def test_an_operation_accepts_256_signals(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.operations.model.changes.SIGNALS_MAX", 2)
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        await run.signal.hurry(Hurry(level=1))
        await run.signal.hurry(Hurry(level=2))
        with pytest.raises(ValidationError, match="limit"):
            await run.signal.hurry(Hurry(level=3))
        process.put(run.id, DONE)
        await run.result()


async def test_signals_of_many_callers_are_all_stored(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        accepted = await asyncio.gather(*(run.signal.hurry(Hurry(level=n)) for n in range(20)))
        process.put(run.id, DONE)
        await run.result()

    assert sorted(each.sequence for each in accepted) == list(range(1, 21))


async def test_an_operation_that_is_left_open_is_ended_by_its_reference(nats_server: NatsServer) -> None:
    async with (
        ProcessService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @service.process.handle
        async def process(operation: ProcessOperation) -> ProcessOutput | Deferred:
            return await operation.defer()

        await service.start()
        run = await client.process.start(REQUEST)
        failing = await client.process.start(REQUEST)
        cancelled = await client.process.start(REQUEST)
        async with ProcessService.connect(nats_server.url) as other:  # a process without handlers
            ref = other.process.ref(run.id)
            await ref.progress(ProcessProgress(step=1))
            await ref.complete(DONE)
            missing = NotFoundError("missing", resource="order", resource_id="o1")
            await other.process.ref(failing.id).fail(missing)
            await other.process.ref(cancelled.id).cancel()
            with pytest.raises(OperationAlreadyTerminal):
                await ref.complete(DONE)
            with pytest.raises(OperationMismatch):
                await other.fixed.ref(run.id).get()
            assert (await ref.get()).state is OperationState.COMPLETED

        assert await run.result() == DONE
        assert (await run.get()).progress == ProcessProgress(step=1)
        with pytest.raises(NotFoundError):
            await failing.result()
        with pytest.raises(OperationCancelled):
            await cancelled.result()


class PackQueue(JobQueue[ProcessInput, ProcessOutput]):
    """A queue."""

    spec: ClassVar[JobSpec] = JobSpec(name="pack", payload=ProcessInput, result=ProcessOutput, max_deliver=1)


class PackJobs(Jobs):
    """The queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pack: Final = PackQueue(runtime)


class PackingService(ProcessService):
    """A service with a queue too."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = PackJobs(runtime)


async def test_an_operation_ends_as_the_job_that_it_is_attached_to(nats_server: NatsServer) -> None:
    async with (
        PackingService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @service.jobs.pack.handle
        async def pack(job: ActiveJob[ProcessInput, ProcessOutput]) -> ProcessOutput:
            if job.payload.mode == "fail":
                raise JobFailed("no box")
            return DONE

        @service.process.handle
        async def process(
            operation: ActiveOperation[
                ProcessInput, ProcessProgress, ProcessOutput, ApproveSignal | HurrySignal
            ],
        ) -> Deferred:
            return await operation.attach(await service.jobs.pack.create(operation.input))

        await service.start()
        run = await client.process.start(REQUEST)
        failing = await client.process.start(ProcessInput(order_id="o1", mode="fail"))

        assert await run.result() == DONE
        with pytest.raises(UnexpectedError):
            await failing.result()


async def test_a_job_reports_to_the_operation_that_follows_it_and_learns_of_its_cancellation(
    nats_server: NatsServer,
) -> None:
    may_report, cancelled = asyncio.Event(), asyncio.Event()
    async with (
        PackingService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @service.jobs.pack.handle
        async def pack(job: ActiveJob[ProcessInput, ProcessOutput]) -> ProcessOutput:
            operation = service.process.ref(job.payload.order_id)
            await operation.progress(ProcessProgress(step=1))
            await may_report.wait()
            try:
                await operation.progress(ProcessProgress(step=2))
            except OperationAlreadyTerminal:
                cancelled.set()
                raise JobCancelled from None
            return DONE

        @service.process.handle
        async def process(
            operation: ActiveOperation[
                ProcessInput, ProcessProgress, ProcessOutput, ApproveSignal | HurrySignal
            ],
        ) -> Deferred:
            return await operation.attach(
                await service.jobs.pack.create(ProcessInput(order_id=operation.id), idempotency_key="one")
            )

        await service.start()
        run = await client.process.start(REQUEST)
        async for update in run.watch():
            if update.snapshot.progress == ProcessProgress(step=1):
                await run.cancel()
                break
        may_report.set()

        await asyncio.wait_for(cancelled.wait(), 10)
        with pytest.raises(OperationCancelled):
            await run.result()


async def test_a_process_does_not_wait_for_the_job_of_an_operation_that_is_cancelled(
    nats_server: NatsServer,
) -> None:
    async with (
        PackingService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @service.process.handle
        async def process(
            operation: ActiveOperation[
                ProcessInput, ProcessProgress, ProcessOutput, ApproveSignal | HurrySignal
            ],
        ) -> Deferred:
            return await operation.attach(await service.jobs.pack.create(operation.input))

        await service.start()
        run = await client.process.start(REQUEST)
        name = f"operation {PROCESS.name} {run.id}"

        async def is_attached() -> bool:
            execution = (await host_of(service.runtime).store.require(run.id)).record.execution
            return execution is not None and execution.job is not None

        await eventually(is_attached)
        assert name in {task.get_name() for task in asyncio.all_tasks()}
        await run.cancel()
        await eventually(lambda: name not in {task.get_name() for task in asyncio.all_tasks()})
