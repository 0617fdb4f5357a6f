"""Operations that ended are kept for a time, and then purged by one process of the service."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from trellis_nats import (
    Deferred,
    Maintenance,
    OperationNotFound,
    OperationState,
    Options,
    Retention,
)
from trellis_nats._nats.jetstream.kv import kv_stream, kv_subject
from trellis_nats._nats.jetstream.streams import count_by_subject
from trellis_nats.operations.host import host_of
from trellis_nats.operations.lease import LEASES
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.orders import NotFoundError
from tests.support.processing import (
    QUICK,
    Process,
    ProcessClient,
    ProcessInput,
    ProcessOperation,
    ProcessOutput,
    ProcessRun,
    ProcessService,
    running,
)

REQUEST = ProcessInput(order_id="o1")
DONE = ProcessOutput(order_id="o1", status="done")
AT_ONCE = Options(
    maintenance=Maintenance(
        lease=timedelta(seconds=0.6), retention=Retention(operations=timedelta(milliseconds=1))
    ),
    shutdown_grace=timedelta(0),
)


async def stored_keys(service: ProcessService) -> dict[str, int]:
    """Return how many revisions each key of the bucket has."""
    bucket = host_of(service.runtime).store.bucket.name
    prefix = kv_subject(bucket, "")
    counts = await count_by_subject(service.runtime.connection, kv_stream(bucket), kv_subject(bucket))
    return {subject.removeprefix(prefix): count for subject, count in counts.items()}


async def purge(service: ProcessService, age: timedelta = timedelta(0), *, limit: int = 100) -> int:
    """Purge now."""
    store = host_of(service.runtime).store
    return await store.purge_ended(age, limit=limit, may_continue=lambda: True)


async def ended_in_each_way(client: ProcessClient, process: Process) -> list[ProcessRun]:
    """Return operations that were completed, failed and cancelled."""
    runs = [await client.process.start(REQUEST) for _ in range(3)]
    await eventually(lambda: len(process.operations) == 3)
    process.put(runs[0].id, DONE)
    process.put(runs[1].id, NotFoundError("missing", resource="order", resource_id="o1"))
    await runs[2].cancel()
    process.put(runs[2].id, DONE)
    for run in runs:
        async for _ in run.watch():
            pass
    return runs


async def test_operations_that_ended_are_purged_and_then_not_found(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (service, process, client):
        runs = await ended_in_each_way(client, process)
        assert await purge(service, timedelta(hours=1)) == 0
        assert (await runs[0].get()).output == DONE

        assert await purge(service) == 3
        for run in runs:
            with pytest.raises(OperationNotFound):
                await run.get()
            with pytest.raises(OperationNotFound):
                await run.result()
            with pytest.raises(OperationNotFound):
                await service.process.ref(run.id).complete(DONE)
        assert all(key.startswith(LEASES) for key in await stored_keys(service))  # no revision, no marker


async def test_an_operation_that_is_open_is_never_purged(nats_server: NatsServer) -> None:
    async with (
        ProcessService.connect(nats_server.url) as service,
        ProcessClient.connect(nats_server.url) as client,
    ):
        process = Process()

        @service.process.handle(concurrency=1)
        async def handle(operation: ProcessOperation) -> ProcessOutput | Deferred:
            if operation.input.mode == "defer":
                return await operation.defer()
            return await process.handle(operation)

        await service.start()
        deferred = await client.process.start(ProcessInput(order_id="o1", mode="defer"))
        running_now = await client.process.start(REQUEST)
        await eventually(lambda: running_now.id in process.operations)
        pending = await client.process.start(REQUEST)

        assert await purge(service) == 0
        states = [(await run.get()).state for run in (deferred, running_now, pending)]
        assert states == [OperationState.RUNNING, OperationState.RUNNING, OperationState.PENDING]
        await service.process.ref(deferred.id).complete(DONE)
        for run in (running_now, pending):
            process.put(run.id, DONE)
        assert [await run.result() for run in (deferred, running_now, pending)] == [DONE] * 3


async def test_what_is_left_of_the_leases_of_earlier_processes_is_purged_too(
    nats_server: NatsServer,
) -> None:
    for _ in range(2):
        async with running(nats_server.url):
            pass
    async with running(nats_server.url) as (service, _, _):
        assert len(await stored_keys(service)) == 3
        assert await purge(service) == 2
        assert list(await stored_keys(service)) == [f"{LEASES}{host_of(service.runtime).lease_id}"]


async def test_a_purge_has_a_limit_and_stops_when_it_is_not_due(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (service, process, client):
        await ended_in_each_way(client, process)
        assert (
            await host_of(service.runtime).store.purge_ended(
                timedelta(0), limit=3, may_continue=lambda: False
            )
            == 0
        )
        assert await purge(service, limit=2) == 2
        assert await purge(service, limit=2) == 1


async def test_a_service_purges_as_its_options_say(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, process, client):
        run = await client.process.start(REQUEST)
        process.put(run.id, DONE)
        await run.result()
    with LogSignals() as signals:
        async with running(nats_server.url, options=AT_ONCE) as (_, _, client):
            await signals.wait_for(LogEvent.OPERATIONS_PURGED)
            with pytest.raises(OperationNotFound):
                await client.process.ref(run.id).get()


async def test_purges_come_as_often_as_the_options_say(nats_server: NatsServer) -> None:
    often = replace(AT_ONCE, maintenance=replace(AT_ONCE.maintenance, purge_every=timedelta(milliseconds=1)))
    with LogSignals() as signals:
        async with running(nats_server.url, options=often) as (_, process, client):
            for count in (1, 2):
                run = await client.process.start(REQUEST)
                process.put(run.id, DONE)
                await run.result()
                await signals.wait_for(LogEvent.OPERATIONS_PURGED, count=count, timeout=timedelta(seconds=5))


async def test_one_process_purges_and_another_takes_its_place(nats_server: NatsServer) -> None:
    kept = Options(maintenance=Maintenance(retention=Retention(operations=None)))
    never = Options(maintenance=Maintenance(purge_every=None))
    async with (
        running(nats_server.url, options=kept) as (keeper, _, _),
        running(nats_server.url, options=never) as (idle, _, _),
    ):
        async with running(nats_server.url, options=QUICK) as (first, _, _):
            await eventually(lambda: host_of(first.runtime).purges)
            async with running(nats_server.url, options=QUICK) as (second, _, _):
                await eventually(lambda: not host_of(second.runtime).purges)  # once it has seen the others
                await first.stop(grace=timedelta(0))
                await eventually(lambda: host_of(second.runtime).purges)
        assert not any(host_of(service.runtime).purges for service in (keeper, idle))
