"""Operations that are started, watched and ended, with one process of each side."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import cast

import pytest
from trellis_nats import (
    ConfigurationError,
    HandlerConflict,
    InvalidPayload,
    NoResponders,
    OperationAlreadyTerminal,
    OperationCancelled,
    OperationNotFound,
    OperationState,
    OperationUpdate,
    UnexpectedError,
    ValidationError,
)
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.orders import NotFoundError
from tests.support.processing import (
    Process,
    ProcessClient,
    ProcessInput,
    ProcessOutput,
    ProcessProgress,
    ProcessRun,
    ProcessService,
    running,
)

REQUEST = ProcessInput(order_id="o1")
DONE = ProcessOutput(order_id="o1", status="done")


async def started(client: ProcessClient, process: Process) -> ProcessRun:
    """Start an operation and wait until its handler runs."""
    run = await client.process.start(REQUEST)
    await eventually(lambda: run.id in process.operations)
    return run


async def test_a_result_reaches_the_caller(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        process.put(run.id, DONE)

        assert await run.result(timeout=timedelta(seconds=10)) == DONE
        assert process.operations[run.id].input == REQUEST
        snapshot = await run.get()

    assert (snapshot.state, snapshot.output, snapshot.is_terminal) == (OperationState.COMPLETED, DONE, True)
    assert snapshot.completed_at is not None


async def test_a_watcher_sees_every_event_in_order(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        for step in range(20):
            process.put(run.id, ProcessProgress(step=step))
        updates: list[OperationUpdate[ProcessProgress, ProcessOutput]] = []
        async for update in run.watch():
            updates.append(update)
            if update.snapshot.progress == ProcessProgress(step=19):
                process.put(run.id, DONE)

    sequences = [update.sequence for update in updates]
    assert sequences == list(range(sequences[0], 23))
    assert updates[0].type == "snapshot"
    assert {update.type for update in updates[2:-1]} == {"progress"}
    assert updates[-1].type == "completed"
    assert updates[-1].snapshot.output == DONE


async def test_watching_an_operation_that_has_ended_gives_its_end(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        process.put(run.id, DONE)
        await run.result()

        assert [update.type async for update in client.process.ref(run.id).watch()] == ["snapshot"]


async def test_a_declared_error_is_raised_by_the_result(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        process.put(run.id, NotFoundError("missing", resource="order", resource_id="o1"))
        with pytest.raises(NotFoundError) as caught:
            await run.result()
        snapshot = await run.get()

    assert caught.value.fields["resourceId"] == "o1"
    assert isinstance(snapshot.error, NotFoundError)


async def test_of_an_undeclared_exception_the_caller_gets_only_an_id(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        process.put(run.id, RuntimeError("a secret"))
        with pytest.raises(UnexpectedError) as caught:
            await run.result()

    assert "a secret" not in str(caught.value)
    assert caught.value.id is not None
    assert caught.value.id in caplog.text
    assert "a secret" in caplog.text


async def test_an_invalid_result_fails_the_operation(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        process.put(run.id, ProcessOutput.model_construct(order_id=5))
        with pytest.raises(ValidationError):
            await run.result()


async def test_an_invalid_request_is_refused_on_both_sides(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        with pytest.raises(InvalidPayload):
            await client.process.start(ProcessInput.model_construct(order_id=5))

        assert process.operations == {}


async def test_a_cancelled_operation_ends_at_once_and_its_handler_notices(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await started(client, process)
        snapshot = await run.cancel()
        operation = process.operations[run.id]
        await asyncio.wait_for(operation.cancelled.wait(), 10)
        process.put(run.id, ProcessProgress(step=1))
        await eventually(lambda: process.ended == [run.id])
        with pytest.raises(OperationCancelled):
            await run.result()
        with pytest.raises(OperationAlreadyTerminal) as caught:
            await run.cancel()

    assert snapshot.state is OperationState.CANCELLED
    assert operation.is_cancelled
    assert caught.value.state == "cancelled"


async def test_what_a_contract_does_not_let_cancel_cannot_be_cancelled(nats_server: NatsServer) -> None:
    async with (
        ProcessService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):
        proceed = asyncio.Event()

        @service.fixed.handle
        async def fixed(operation: object) -> ProcessOutput:
            del operation
            await proceed.wait()
            return DONE

        await service.start()
        run = await client.fixed.start(REQUEST)
        with pytest.raises(ValidationError) as caught:
            await run.cancel()
        proceed.set()
        await run.result()

    assert [path for path, _ in caught.value.issues] == ["/action"]


async def test_an_unknown_id_is_not_found(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, _, client):
        for operation_id in ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "a.b", ""):
            run = client.process.ref(operation_id or "*")
            with pytest.raises(OperationNotFound):
                await run.get()
            with pytest.raises(OperationNotFound):
                await run.result()


async def test_without_a_service_a_start_fails(nats_server: NatsServer) -> None:
    async with ProcessClient.connect(nats_server.url) as client:
        with pytest.raises(NoResponders):
            await client.process.start(REQUEST)


async def test_a_result_can_be_waited_for_with_a_limit(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await started(client, process)
        with pytest.raises(TimeoutError):
            await run.result(timeout=timedelta(milliseconds=50))
        process.put(run.id, DONE)
        assert await run.result() == DONE


async def test_a_registration_is_checked(nats_server: NatsServer) -> None:
    process = Process()
    async with ProcessService.connect(nats_server.url) as service:
        with pytest.raises(ConfigurationError, match="must be an `async def`"):
            service.process.handle(lambda operation: process.handle(operation))  # noqa: PLW0108 - not an async def
        with pytest.raises(ConfigurationError, match="concurrency"):
            service.process.handle(concurrency=0)(process.handle)
        with pytest.raises(ConfigurationError, match="a whole number is expected, got a float"):
            service.process.handle(concurrency=cast("int", 2.5))(process.handle)
        service.process.handle(resume="run-again", concurrency=3)(process.handle)
        with pytest.raises(HandlerConflict):
            service.process.handle(process.handle)
