"""The stack of a running job, as the process that runs it answers: waiting, blocking the loop, or in a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from trellis_nats import ConfigurationError, PermissionDenied, permissions
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.clock import now
from trellis_nats.jobs.stacks import JobStack, StackFrame, read_stack
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.depot import Depot, login, register, standing, violations
from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.shop_process import shop_process

SECRET = "s3cr3t-value"  # noqa: S105 - it must not be in any answer


def connection_of(shop: Shop) -> Connection:
    return shop.jobs.runtime.connection


async def stack_of(shop: Shop, job_id: str) -> JobStack:
    stack = await read_stack(connection_of(shop), "shop", "pack", job_id)
    assert stack is not None
    return stack


def functions(stack: JobStack) -> list[str]:
    return [frame.function.rpartition(".")[2] for frame in stack.frames]


async def test_a_handler_that_waits_shows_what_it_awaits(nats_server: NatsServer) -> None:
    async with AsyncExitStack() as stack:
        shops = [await stack.enter_async_context(Shop.connect(nats_server.url)) for _ in range(3)]
        running, go_on = asyncio.Event(), asyncio.Event()

        async def wait_for_the_belt(token: str) -> None:
            running.set()
            await go_on.wait()
            del token

        for shop in shops:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                await wait_for_the_belt(SECRET)
                return Receipt(total=1)

            await shop.jobs.start_workers()
        ref = await shops[0].jobs.pack.create(Parcel(number=1))
        await running.wait()

        answered = await stack_of(shops[0], ref.id)

        assert (answered.job_id, answered.attempt, answered.place) == (ref.id, 1, "waiting")
        assert answered.instance_id in {shop.jobs.runtime.instance_id for shop in shops}
        assert functions(answered) == ["pack", "wait_for_the_belt", "wait"]
        assert answered.frames[0].file == __file__
        assert not answered.is_cut
        assert SECRET not in answered.encode().decode()
        go_on.set()
        await ref.result(timeout=timedelta(seconds=20))
        assert (
            await read_stack(
                connection_of(shops[0]), "shop", "pack", ref.id, timeout=timedelta(milliseconds=300)
            )
            is None
        )


async def test_a_plain_def_handler_shows_its_thread(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        go_on = threading.Event()

        def sort_by_hand() -> None:
            go_on.wait(30)

        @shop.jobs.pack.handle
        def pack(job: ParcelJob) -> Receipt:
            sort_by_hand()
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        async def in_its_handler() -> JobStack | None:
            answered = await read_stack(connection_of(shop), "shop", "pack", ref.id)
            return answered if answered is not None and "sort_by_hand" in functions(answered) else None

        answered = await eventually(in_its_handler)
        assert answered is not None
        assert answered.place == "thread"
        assert functions(answered)[:2] == ["pack", "sort_by_hand"]
        go_on.set()
        await ref.result(timeout=timedelta(seconds=20))


async def test_a_handler_that_blocks_the_event_loop_shows_where(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, shop_process(nats_server.url) as worker:
        ref = await shop.jobs.pack.create(Parcel(number=-60))
        await worker.wait_for("began")
        began = time.monotonic()

        async def blocked() -> JobStack | None:
            answered = await read_stack(connection_of(shop), "shop", "pack", ref.id)
            return answered if answered is not None and answered.loop_lag > timedelta(seconds=1) else None

        answered = await eventually(blocked)
        assert answered is not None

        assert answered.place == "event loop"
        assert functions(answered) == ["pack"]
        assert answered.frames[0].file.endswith("tests/support/shop_process.py")
        assert answered.loop_lag < timedelta(seconds=time.monotonic() - began + 1)


async def test_deep_recursion_is_cut(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()

        async def descend(depth: int) -> None:
            if depth:
                await descend(depth - 1)
            else:
                running.set()
                await go_on.wait()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await descend(300)
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        answered = await stack_of(shop, ref.id)

        assert len(answered.frames) == 64
        assert answered.is_cut
        assert functions(answered)[-2:] == ["descend", "wait"]
        assert len(answered.encode()) < 64_000
        go_on.set()
        await ref.result(timeout=timedelta(seconds=20))


async def test_without_any_worker_there_is_no_stack_at_once(nats_server: NatsServer) -> None:
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    began = time.monotonic()

    assert await read_stack(connection, "shop", "pack", "J1") is None

    assert time.monotonic() - began < 2
    with pytest.raises(ConfigurationError, match="job id"):
        await read_stack(connection, "shop", "pack", "a.b")
    await connection.close()


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"jobId": 1}'])
def test_what_is_not_an_answer_is_ignored(answer: bytes) -> None:
    assert JobStack.parse(answer) is None


def test_an_answer_is_encoded_and_parsed() -> None:
    stack = JobStack(
        job_id="J1",
        instance_id="I1",
        attempt=2,
        at=now(),
        place="waiting",
        frames=(StackFrame("/srv/orders.py", 12, "charge"),),
        is_cut=False,
        loop_lag=timedelta(milliseconds=3),
    )

    assert JobStack.parse(stack.encode()) == stack


async def test_an_operator_may_ask_and_a_worker_may_answer() -> None:
    async with (
        standing() as server,
        Depot.connect(server.url, options=login("worker")) as worker,
        Depot.connect(server.url, options=login("operator")) as operator,
    ):
        register(worker)
        await worker.start()
        ref = await worker.jobs.charge.create(Parcel(number=1))
        before = len(violations(server))

        async def stack() -> JobStack | None:
            return await read_stack(operator.jobs.runtime.connection, "depot", "charge", ref.id)

        answered = await eventually(stack)
        assert answered is not None
        assert answered.frames == () or functions(answered)[0] == "charge"
        assert violations(server)[before:] == []
        with pytest.raises(PermissionDenied, match="job_stacks"):
            await read_stack(worker.jobs.runtime.connection, "depot", "charge", ref.id)
        await ref.cancel()


async def test_a_worker_that_may_not_be_asked_works(nats_server: NatsServer) -> None:
    worker = permissions(Depot, "worker")
    cut = replace(worker, subscribe=tuple(line for line in worker.subscribe if "job_stacks" not in line))
    async with (
        standing({"root": None, "worker": cut}) as server,
        Depot.connect(server.url, options=login("root")) as root,
        Depot.connect(server.url, options=login("worker")) as depot,
    ):
        register(depot)
        with LogSignals() as signals:
            await depot.start()
            limited = signals.of(LogEvent.PERMISSIONS_LIMITED)
        assert any("show the stacks of running jobs of queue pack" in r.getMessage() for r in limited)
        assert await read_stack(root.jobs.runtime.connection, "depot", "pack", "J1") is None
