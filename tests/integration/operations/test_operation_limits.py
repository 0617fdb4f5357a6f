"""Too many operations, and what does not fit into a message."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from datetime import timedelta

import pytest
from trellis_nats import PayloadTooLarge, UnexpectedError
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.processing import (
    QUICK,
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
HUGE = "x" * 1_000_000


async def test_no_more_handlers_run_at_a_time_than_the_registration_says(nats_server: NatsServer) -> None:
    running_now, most = 0, 0
    proceed = asyncio.Event()

    async with (
        ProcessService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @service.process.handle(concurrency=2)
        async def process(operation: ProcessOperation) -> ProcessOutput:
            nonlocal running_now, most
            running_now += 1
            most = max(most, running_now)
            await proceed.wait()
            running_now -= 1
            return ProcessOutput(order_id=operation.input.order_id, status="done")

        await service.start()
        runs = [await client.process.start(REQUEST) for _ in range(5)]
        await eventually(lambda: running_now == 2)
        proceed.set()
        assert await asyncio.gather(*(run.result() for run in runs)) == [DONE] * 5

    assert most == 2


async def test_beyond_its_limit_a_process_accepts_no_more_operations(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.operations.runner._WAITING_MAX", -99)  # 100 handlers run at a time
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        with pytest.raises(UnexpectedError):
            await client.process.start(REQUEST)
        process.put(run.id, DONE)
        assert await run.result() == DONE


async def test_progress_that_does_not_fit_is_refused_and_the_operation_goes_on(
    nats_server: NatsServer,
) -> None:
    refused: list[PayloadTooLarge] = []

    async with (
        ProcessService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @service.process.handle
        async def process(operation: ProcessOperation) -> ProcessOutput:
            try:
                await operation.progress(ProcessProgress(step=1, text=HUGE * 2))
            except PayloadTooLarge as error:
                refused.append(error)
            await operation.progress(ProcessProgress(step=2))
            return DONE

        await service.start()
        run = await client.process.start(REQUEST)
        assert await run.result() == DONE
        assert (await run.get()).progress == ProcessProgress(step=2)

    assert len(refused) == 1


async def test_a_result_that_does_not_fit_fails_the_operation(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        process.put(run.id, ProcessOutput(order_id="o1", status=HUGE * 2))
        with pytest.raises(UnexpectedError):
            await run.result()


async def test_an_operation_whose_record_is_full_can_still_end(nats_server: NatsServer) -> None:
    async with (
        ProcessService.connect(nats_server.url, options=QUICK) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @service.process.handle(resume="run-again")
        async def fill_and_raise(operation: ProcessOperation) -> ProcessOutput:
            for length in range(1024 * 1024 - 1000, 1_000_000, -100):
                with suppress(PayloadTooLarge):
                    await operation.progress(ProcessProgress(step=1, text="x" * length))
                    raise ValueError
            raise AssertionError("no progress fits")

        await service.start()
        run = await client.process.start(REQUEST)
        with pytest.raises(UnexpectedError):
            await run.result(timeout=timedelta(seconds=5))


async def test_an_input_that_does_not_fit_into_a_record_is_refused(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        with pytest.raises(UnexpectedError):
            await client.process.start(ProcessInput(order_id="x" * (1024 * 1024 - 780)))

        assert process.operations == {}


async def test_beyond_its_limit_a_process_answers_no_more_callers(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.operations.server._CONTROLS_MAX", 1)
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        async with aclosing(run.watch()) as updates:
            await anext(updates)
            with pytest.raises(UnexpectedError):
                await run.get()
            process.put(run.id, DONE)
            assert [update async for update in updates][-1].type == "completed"

        async def is_answered() -> bool:
            try:
                return (await run.get()).is_terminal
            except UnexpectedError:
                return False

        await eventually(is_answered)


async def test_a_watcher_that_is_too_slow_watches_again_and_misses_nothing(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.operations.watches._BEHIND_MAX", 0)  # each change is one too many
    sequences, types = list[int](), list[str]()
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        await eventually(lambda: run.id in process.operations)
        process.put(run.id, ProcessProgress(step=0))
        async for update in run.watch():
            sequences.append(update.sequence)
            types.append(update.type)
            progress = update.snapshot.progress
            if progress is not None:
                process.put(run.id, DONE if progress.step == 2 else ProcessProgress(step=progress.step + 1))

    assert types[-1] == "completed"
    assert sequences == list(range(sequences[0], 6))
