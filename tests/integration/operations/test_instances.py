"""Several processes of one service: what one runs, the others answer for, and go on with when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from trellis_nats import Deferred, OperationInterrupted, OperationUpdate, Options, ResumePolicy
from trellis_nats.operations.host import host_of
from trellis_nats.operations.lease import LEASES
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.processing import (
    QUICK,
    Process,
    ProcessClient,
    ProcessInput,
    ProcessOperation,
    ProcessOutput,
    ProcessProgress,
    ProcessRun,
    ProcessService,
    running,
)
from tests.support.proxy import Proxy

REQUEST = ProcessInput(order_id="o1")
DONE = ProcessOutput(order_id="o1", status="done")
IMPATIENT = Options(request_timeout=timedelta(seconds=3))
"""For callers whose request may go to a process that is gone, before they ask again."""


async def started(client: ProcessClient, process: Process) -> ProcessRun:
    """Start an operation and wait until its handler runs."""
    run = await client.process.start(REQUEST)
    await eventually(lambda: run.id in process.operations)
    return run


@asynccontextmanager
async def doomed(
    server: NatsServer, *, resume: ResumePolicy = "fail", concurrency: int = 100
) -> AsyncGenerator[tuple[ProcessService, Process, Proxy]]:
    """Run a service behind a proxy: when that goes silent, others see what they see of a process that was killed."""
    process = Process()
    async with Proxy(server.port) as proxy, ProcessService.connect(proxy.url, options=QUICK) as service:
        service.process.handle(resume=resume, concurrency=concurrency)(process.handle)
        await service.start()
        yield service, process, proxy
        proxy.heal()


async def test_any_process_answers_for_what_another_runs(nats_server: NatsServer) -> None:
    async with (
        running(nats_server.url) as (_, first, client),
        running(nats_server.url) as (_, second, _),
    ):
        runs = [await client.process.start(REQUEST) for _ in range(10)]
        await eventually(lambda: len(first.operations) + len(second.operations) == 10)
        assert first.operations.keys() & second.operations.keys() == set()
        watches = [asyncio.create_task(run.result()) for run in runs]
        for run in runs:
            for process in (first, second):
                if run.id in process.operations:
                    process.put(run.id, ProcessProgress(step=1))
                    process.put(run.id, DONE)

        assert await asyncio.gather(*watches) == [DONE] * 10


async def test_any_process_cancels_what_another_runs(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await started(client, process)
        async with ProcessService.connect(nats_server.url) as other:
            other.process.handle(Process().handle)
            await other.start()
            await other.process.ref(run.id).cancel()
            await asyncio.wait_for(process.operations[run.id].cancelled.wait(), 10)
            process.put(run.id, DONE)


async def test_an_operation_whose_process_ended_fails_and_says_so(nats_server: NatsServer) -> None:
    async with (
        doomed(nats_server) as (_, dying, proxy),
        ProcessClient.connect(nats_server.url, options=IMPATIENT) as client,
    ):
        run = await started(client, dying)
        proxy.blackhole()
        async with running(nats_server.url, options=QUICK) as (_, process, _):
            with pytest.raises(OperationInterrupted):
                await run.result(timeout=timedelta(seconds=60))
            assert process.operations == {}


async def test_an_operation_that_may_runs_again_in_another_process(nats_server: NatsServer) -> None:
    process = Process()
    async with (
        doomed(nats_server, resume="run-again") as (_, dying, proxy),
        ProcessClient.connect(nats_server.url, options=IMPATIENT) as client,
        ProcessService.connect(nats_server.url, options=QUICK) as second,
    ):
        run = await started(client, dying)
        second.process.handle(resume="run-again")(process.handle)
        await second.start()
        proxy.blackhole()
        await eventually(lambda: run.id in process.operations, within=timedelta(seconds=60))
        assert dying.ended == [run.id]  # its handler was cancelled before another one began
        assert process.operations[run.id].attempt == 2
        process.put(run.id, ProcessProgress(step=7))
        process.put(run.id, DONE)
        assert await run.result() == DONE
        proxy.heal()
        dying.put(run.id, DONE)
        # A caller's `get` may still reach the process that was cut off, which the server has not missed yet.
        assert (await second.process.ref(run.id).get()).progress == ProcessProgress(step=7)


async def test_a_watcher_misses_no_event_when_the_process_that_serves_it_ends(
    nats_server: NatsServer,
) -> None:
    updates: list[OperationUpdate[ProcessProgress, ProcessOutput]] = []
    async with (
        running(nats_server.url, options=QUICK) as (_, process, client),
        ProcessService.connect(nats_server.url, options=QUICK) as other,
    ):
        run = await started(client, process)

        async def watch() -> None:
            async for update in run.watch():
                updates.append(update)  # noqa: PERF401 - the test looks at them before the last one

        watching = asyncio.create_task(watch())
        await eventually(lambda: updates)
        other.process.handle(Process().handle)
        for step in range(3):
            process.put(run.id, ProcessProgress(step=step))
        await other.start()
        await other.stop()
        process.put(run.id, DONE)
        await asyncio.wait_for(watching, 60)

    sequences = [update.sequence for update in updates]
    assert sequences == list(range(sequences[0], sequences[-1] + 1))
    assert updates[-1].type == "completed"


async def test_a_caller_that_was_away_gets_the_events_that_it_missed(nats_server: NatsServer) -> None:
    updates: list[OperationUpdate[ProcessProgress, ProcessOutput]] = []
    async with (
        Proxy(nats_server.port) as proxy,
        running(nats_server.url) as (_, process, client),
        ProcessClient.connect(proxy.url) as away,
    ):
        run = await started(client, process)

        async def watch() -> None:
            async for update in away.process.ref(run.id).watch():
                updates.append(update)  # noqa: PERF401 - the test looks at them before the last one

        watching = asyncio.create_task(watch())
        await eventually(lambda: updates)
        proxy.blackhole("to_client")
        for step in range(3):
            process.put(run.id, ProcessProgress(step=step))

        async def is_reported() -> bool:
            return (await run.get()).progress == ProcessProgress(step=2)

        await eventually(is_reported)
        proxy.cut()
        proxy.heal()
        await eventually(lambda: updates[-1].snapshot.progress == ProcessProgress(step=2))
        process.put(run.id, DONE)
        await asyncio.wait_for(watching, 60)

    sequences = [update.sequence for update in updates]
    assert sequences == list(range(sequences[0], sequences[-1] + 1))
    assert [update.type for update in updates[-4:]] == ["progress"] * 3 + ["completed"]


async def test_an_operation_that_has_not_begun_runs_elsewhere_whatever_its_policy(
    nats_server: NatsServer,
) -> None:
    async with (
        doomed(nats_server, concurrency=1) as (_, dying, proxy),
        ProcessClient.connect(nats_server.url, options=IMPATIENT) as client,
    ):
        begun = await started(client, dying)
        waiting = await client.process.start(REQUEST)
        assert waiting.id not in dying.operations
        proxy.blackhole()
        async with running(nats_server.url, options=QUICK) as (_, process, _):
            process.put(waiting.id, DONE)
            assert await waiting.result(timeout=timedelta(seconds=60)) == DONE
            assert process.operations[waiting.id].attempt == 1
            with pytest.raises(OperationInterrupted):
                await begun.result(timeout=timedelta(seconds=60))


async def test_a_process_that_stops_hands_over_at_once(nats_server: NatsServer) -> None:
    process = Process()
    async with (
        ProcessService.connect(nats_server.url) as first,
        ProcessService.connect(nats_server.url) as second,
        ProcessClient.connect(nats_server.url) as client,
    ):
        dying = Process()
        first.process.handle(resume="run-again")(dying.handle)
        await first.start()
        run = await started(client, dying)
        second.process.handle(resume="run-again")(process.handle)
        await second.start()
        await first.stop(grace=timedelta(0))
        process.put(run.id, DONE)

        assert await run.result(timeout=timedelta(seconds=30)) == DONE
        assert process.operations[run.id].attempt == 2


async def test_a_process_that_stops_fails_what_must_not_run_again(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (service, process, client):
        run = await started(client, process)
        await service.stop(grace=timedelta(0))
        async with running(nats_server.url) as (_, _, _):
            with pytest.raises(OperationInterrupted):
                await run.result(timeout=timedelta(seconds=30))


async def test_no_process_takes_what_a_live_one_runs(nats_server: NatsServer) -> None:
    async with (
        running(nats_server.url, options=QUICK) as (first, process, client),
        running(nats_server.url, options=QUICK) as (_, other, _),
    ):
        run = await client.process.start(REQUEST)
        await eventually(lambda: run.id in process.operations or run.id in other.operations)
        host = host_of(first.runtime)
        revisions: set[int] = set()

        async def is_renewed_often() -> bool:
            lease = await host.store.bucket.get(f"{LEASES}{host.lease_id}", leader=True)
            revisions.update([] if lease is None else [lease.revision])
            return len(revisions) > 10  # more than two leases long

        await eventually(is_renewed_often, within=timedelta(seconds=60))
        (owner,) = [each for each in (process, other) if run.id in each.operations]
        owner.put(run.id, DONE)

        assert await run.result() == DONE
        assert len(process.operations) + len(other.operations) == 1


async def test_a_short_outage_changes_nothing(nats_server: NatsServer) -> None:
    async with (
        doomed(nats_server, resume="run-again") as (_, process, proxy),
        ProcessClient.connect(nats_server.url, options=IMPATIENT) as client,
    ):
        run = await started(client, process)
        proxy.cut()
        process.put(run.id, ProcessProgress(step=1))
        process.put(run.id, DONE)

        assert await run.result(timeout=timedelta(seconds=60)) == DONE
        assert process.operations[run.id].attempt == 1


async def test_an_operation_that_is_left_open_is_not_resumed(nats_server: NatsServer) -> None:
    async with (
        ProcessService.connect(nats_server.url, options=QUICK) as first,
        ProcessClient.connect(nats_server.url) as client,
    ):

        @first.process.handle
        async def process(operation: ProcessOperation) -> Deferred:
            return await operation.defer()

        await first.start()
        run = await client.process.start(REQUEST)

        async def is_open() -> bool:
            return await host_of(first.runtime).store.list_open() == [run.id] and run.id in (
                await deferred(first)
            )

        await eventually(is_open)
        await first.stop()
        async with running(nats_server.url, options=QUICK) as (second, resumed, _):
            await second.process.ref(run.id).complete(DONE)
            assert await run.result() == DONE
            assert resumed.operations == {}


async def deferred(service: ProcessService) -> list[str]:
    """Return the operations that were left open."""
    store = host_of(service.runtime).store
    stored = [await store.require(operation_id) for operation_id in await store.list_open()]
    return [each.record.id for each in stored if each.record.execution and each.record.execution.is_deferred]
