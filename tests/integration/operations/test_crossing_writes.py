"""What one process writes to an operation while another writes, or while an answer of NATS is missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from trellis_nats import OperationState
from trellis_nats.clock import now
from trellis_nats.errors import OperationCancelled
from trellis_nats.operations.host import host_of
from trellis_nats.operations.lease import LEASES
from trellis_nats.operations.model import changes
from trellis_nats.operations.resumption import Resumption
from trellis_nats.operations.store import OperationStore, Stored
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
    ProcessService,
    running,
)
from tests.support.proxy import Proxy

REQUEST = ProcessInput(order_id="o1")
DONE = ProcessOutput(order_id="o1", status="done")
SOON: Final = timedelta(seconds=30)


@asynccontextmanager
async def proxied(server: NatsServer) -> AsyncGenerator[tuple[Proxy, ProcessService, Process, ProcessClient]]:
    """Run a service behind a proxy, and a client that has a connection of its own."""
    process = Process()
    async with (
        Proxy(server.port) as proxy,
        ProcessService.connect(proxy.url) as service,
        ProcessClient.connect(server.url) as client,
    ):
        service.process.handle(process.handle)
        await service.start()
        yield proxy, service, process, client
        proxy.heal()


@asynccontextmanager
async def other_store(server: NatsServer) -> AsyncGenerator[OperationStore]:
    """Yield the stored operations as a process without handlers has them."""
    async with ProcessService.connect(server.url) as other:
        yield host_of(other.runtime).store


async def test_progress_behind_one_that_the_handler_gave_up_is_stored(nats_server: NatsServer) -> None:
    async with proxied(nats_server) as (proxy, _, process, client), other_store(nats_server) as store:
        run = await client.process.start(REQUEST)
        await eventually(lambda: run.id in process.operations)
        operation = process.operations[run.id]

        async def is_stored(step: int) -> bool:
            return (await store.require(run.id)).record.snapshot.progress == {"step": step}

        proxy.blackhole("to_client")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(operation.progress(ProcessProgress(step=1)), 0.2)
        await eventually(lambda: is_stored(1))
        second = asyncio.create_task(operation.progress(ProcessProgress(step=2)))
        await asyncio.sleep(0)  # it is written behind what is not known yet
        proxy.heal()
        await asyncio.wait_for(second, SOON.total_seconds())

        stored = await store.require(run.id)
        assert (stored.record.snapshot.progress, stored.record.sequence) == ({"step": 2}, 3)
        process.put(run.id, DONE)


async def test_progress_that_crosses_that_of_another_process_is_stored(nats_server: NatsServer) -> None:
    async with proxied(nats_server) as (proxy, _, process, client), other_store(nats_server) as store:
        run = await client.process.start(REQUEST)
        await eventually(lambda: run.id in process.operations)

        proxy.blackhole("to_client")
        await store.change(run.id, lambda record: changes.set_progress(record, {"step": 7}, at=now()))
        own = asyncio.create_task(process.operations[run.id].progress(ProcessProgress(step=1)))
        await asyncio.sleep(0)
        proxy.heal()
        await asyncio.wait_for(own, SOON.total_seconds())

        stored = await store.require(run.id)
        assert (stored.record.snapshot.progress, stored.record.sequence) == ({"step": 1}, 3)
        process.put(run.id, DONE)


async def test_a_signal_that_crosses_progress_reaches_the_handler(nats_server: NatsServer) -> None:
    received: list[int] = []
    async with (
        Proxy(nats_server.port) as proxy,
        ProcessService.connect(proxy.url) as service,
        ProcessClient.connect(nats_server.url) as client,
        other_store(nats_server) as store,
    ):
        reported = asyncio.Event()
        report = asyncio.Event()

        @service.process.handle
        async def process(operation: ProcessOperation) -> ProcessOutput:
            async def receive() -> None:
                async for signal in operation.signals():
                    received.append(signal.sequence)
                    return

            receiving = asyncio.create_task(receive())
            await report.wait()
            await operation.progress(ProcessProgress(step=1))
            reported.set()
            await receiving
            return DONE

        await service.start()
        run = await client.process.start(REQUEST)

        async def runs() -> bool:
            return (await run.get()).state is OperationState.RUNNING

        await eventually(runs)
        proxy.blackhole("to_client")
        await store.change(
            run.id,
            lambda record: changes.add_signal(record, "hurry", {"level": 1}, at=now(), request_id="r"),
        )
        report.set()
        await asyncio.sleep(0)
        proxy.heal()
        await asyncio.wait_for(reported.wait(), SOON.total_seconds())

        assert await run.result(timeout=SOON) == DONE
    assert received == [1]


async def test_an_operation_that_was_removed_does_not_keep_others_from_going_on(
    nats_server: NatsServer,
) -> None:
    process, dying = Process(), Process()
    async with (
        Proxy(nats_server.port) as proxy,
        ProcessService.connect(proxy.url, options=QUICK) as first,
        ProcessService.connect(nats_server.url, options=QUICK) as second,
        ProcessClient.connect(nats_server.url) as client,
        other_store(nats_server) as store,
    ):
        first.process.handle(resume="run-again")(dying.handle)
        await first.start()
        second.process.handle(resume="run-again")(process.handle)
        await second.start()
        runs = [await client.process.start(REQUEST) for _ in range(12)]
        await eventually(lambda: len(dying.operations) + len(process.operations) == len(runs))
        (removed, *left) = dying.operations
        assert left
        await store.bucket.delete(removed)
        proxy.blackhole()
        await eventually(lambda: set(left) <= process.operations.keys(), within=SOON)
        proxy.heal()


async def test_a_cancellation_that_crosses_a_takeover_does_not_end_taking_over(
    nats_server: NatsServer,
) -> None:
    resumed: list[str] = []

    async def resume(stored: Stored) -> None:
        resumed.append(stored.record.id)
        if len(resumed) == 1:
            raise OperationCancelled(stored.record.id)

    async with running(nats_server.url) as (service, _, _), other_store(nats_server) as store:
        resumption = Resumption(
            service.runtime.connection,
            store,
            timedelta(milliseconds=100),
            get_lease=lambda: "lease",
            is_wanted=lambda found: found.id in {"one", "two"} - set(resumed),
            resume=resume,
        )
        for operation_id in ("one", "two"):
            record = changes.create_record(
                operation_id,
                service="proc",
                operation="Proc.Other",
                owner="",
                runner="gone",
                value={},
                context={},
                at=now(),
            )
            await store.create(record)
        resumption.start()
        await eventually(lambda: set(resumed) == {"one", "two"})
        await resumption.stop()


async def test_the_lease_of_a_process_that_ran_nothing_is_removed(nats_server: NatsServer) -> None:
    async with Proxy(nats_server.port) as proxy, ProcessService.connect(proxy.url, options=QUICK) as first:
        first.process.handle(Process().handle)
        await first.start()
        dead = host_of(first.runtime).lease_id
        proxy.blackhole()
        async with running(nats_server.url, options=QUICK) as (service, _, _):
            host = host_of(service.runtime)

            async def leases() -> list[str]:
                return await host.store.bucket.keys(f"{LEASES}*")

            assert f"{LEASES}{dead}" in await leases()

            async def is_removed() -> bool:
                return await leases() == [f"{LEASES}{host.lease_id}"]

            await eventually(is_removed, within=SOON)
        proxy.heal()
