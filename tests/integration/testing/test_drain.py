"""`drain` works everything, and says what it cannot finish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from orders_participant import (
    CreateOrderRequest,
    CreateOrderResponse,
    OrderItem,
    OrdersClient,
    OrderShippedEvent,
    OrdersProcessOperation,
    OrdersService,
    ProcessOrderProgress,
    ProcessOrderRequest,
    ProcessOrderResult,
    ReserveInventoryPayload,
    SyncTicketsJob,
    SyncTicketsPayload,
    SyncTicketsResult,
)
from trellis_nats import (
    ActiveJob,
    Client,
    ConfigurationError,
    JobFailed,
    JobProgress,
    JobState,
    OperationState,
    Rejected,
    RpcContext,
    Runtime,
)
from trellis_nats.testing import TEST_OPTIONS, NatsServer, NotDrained, ServiceUnderTest, service_under_test

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

NOW = timedelta(0)
PAYLOAD = SyncTicketsPayload(origin="shop.example")


@pytest.fixture
async def shop() -> AsyncIterator[ServiceUnderTest[Shop]]:
    async with service_under_test(Shop) as shop:
        yield shop


@pytest.fixture
async def orders() -> AsyncIterator[ServiceUnderTest[OrdersService]]:
    async with service_under_test(OrdersService) as orders:
        orders.service.consumers.shipped_audit.leave_to_others()
        yield orders


async def test_jobs_that_the_handler_of_an_operation_creates_are_worked(
    orders: ServiceUnderTest[OrdersService],
) -> None:
    queue = orders.service.jobs.sync_tickets

    @queue.handle
    async def sync_tickets(job: SyncTicketsJob) -> SyncTicketsResult:
        return SyncTicketsResult(synced=1)

    @orders.service.operations.orders.process.handle
    async def process(operation: OrdersProcessOperation) -> ProcessOrderResult:
        for step in ("one", "two", "three"):
            await operation.progress(ProcessOrderProgress(step=step, message=step))
        await queue.create(PAYLOAD)
        await operation.cancelled.wait()
        return ProcessOrderResult(order_id="o-1", status="done")

    async with orders.client(OrdersClient) as client:
        run = await client.operations.orders.process.start(ProcessOrderRequest(order_id="o-1"))
        report = await orders.drain()

        assert report.states == {"completed": 1}
        assert (await run.get()).state is OperationState.RUNNING


async def test_jobs_that_jobs_create_are_worked_too(shop: ServiceUnderTest[Shop]) -> None:
    jobs = shop.service.jobs

    @jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        await job.progress(step="packing", current=1, total=1)
        await jobs.sort.create(job.payload)
        return Receipt(total=job.payload.number)

    @jobs.sort.handle
    async def sort(job: ActiveJob[Parcel, None]) -> None:
        if job.payload.number > 1:
            await jobs.pack.create(Parcel(number=job.payload.number - 1))

    await jobs.pack.create(Parcel(number=3))

    report = await shop.drain()

    assert report.states == {"completed": 6}
    assert [job.payload.number for job in report.of(jobs.pack)] == [3, 2, 1]
    assert [job.result for job in report.of(jobs.pack)] == [Receipt(total=total) for total in (3, 2, 1)]
    assert report.of(jobs.pack)[0].progress == (JobProgress(step="packing", current=1, total=1),)
    assert repr(report) == "<DrainReport 6 completed; the clock moved by 0:00:00>"


async def test_a_drain_reports_what_happened_since_the_last_one(shop: ServiceUnderTest[Shop]) -> None:
    queue = shop.service.jobs.pack

    @queue.handle
    async def pack(job: ParcelJob) -> Receipt:
        if job.payload.number == 2:
            raise JobFailed("too heavy")
        return Receipt(total=job.payload.number)

    await queue.create(Parcel(number=1))
    assert (await shop.drain()).one(queue).state is JobState.COMPLETED
    await queue.create(Parcel(number=2))
    second = (await shop.drain()).one(queue)
    assert (second.state, second.errors, second.result) == (JobState.FAILED, ("too heavy",), None)
    nothing = await shop.drain()
    assert (nothing.states, nothing.of(queue)) == ({}, [])
    with pytest.raises(AssertionError, match='queue "pack" had 0 jobs, not one: <DrainReport no jobs'):
        nothing.one(queue)


async def test_jobs_of_queues_without_a_handler_stay(shop: ServiceUnderTest[Shop]) -> None:
    jobs = shop.service.jobs

    @jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        await jobs.sort.create(job.payload, delay=timedelta(minutes=1), deadline=timedelta(hours=1))
        return Receipt(total=1)

    before = shop.clock.now()
    await jobs.pack.create(Parcel(number=7))

    report = await shop.drain()

    assert report.states == {"completed": 1, "pending": 1}
    (created,) = await shop.created(jobs.sort)
    assert created.payload == Parcel(number=7)
    assert created.id == report.one(jobs.sort).id
    assert created.not_before is not None
    assert created.deadline is not None
    assert created.not_before - before >= timedelta(minutes=1)
    assert created.deadline - created.not_before == timedelta(minutes=59)
    assert await shop.created(jobs.charge) == []


async def test_without_any_handler_there_is_nothing_to_do(shop: ServiceUnderTest[Shop]) -> None:
    await shop.service.jobs.pack.create(Parcel(number=1))

    assert (await shop.drain()).states == {"pending": 1}


async def test_jobs_without_end_are_an_error(shop: ServiceUnderTest[Shop]) -> None:
    queue = shop.service.jobs.pack

    @queue.handle
    async def pack(job: ParcelJob) -> Receipt:
        await queue.create(job.payload)
        return Receipt(total=1)

    await queue.create(Parcel(number=1))

    with pytest.raises(
        NotDrained, match=r"more than 20 attempts .* \d+ of queue pack\. Does a handler always create"
    ):
        await shop.drain(attempts_max=20)


async def test_a_handler_that_does_not_return_is_named(shop: ServiceUnderTest[Shop]) -> None:
    queue, began = shop.service.jobs.pack, asyncio.Event()

    @queue.handle
    async def pack(_: ParcelJob) -> Receipt:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    ref = await queue.create(Parcel(number=1))
    await shop.start()
    await began.wait()

    with pytest.raises(
        NotDrained, match=f"not drained within 0.20 s .* job {ref.id} of queue pack: active, attempt 1"
    ):
        await shop.drain(timeout=timedelta(seconds=0.2))


async def test_a_paused_queue_is_named_at_once(shop: ServiceUnderTest[Shop]) -> None:
    queue = shop.service.jobs.pack

    @queue.handle
    async def pack(job: ParcelJob) -> Receipt:
        return Receipt(total=job.payload.number)

    await queue.pause(reason="the belt is stuck", actor="ada")
    await queue.create(Parcel(number=1))

    with pytest.raises(
        NotDrained, match=r"queue pack is paused by ada since .*: the belt is stuck\. .*`resume\(\)`"
    ):
        await shop.drain(timeout=timedelta(days=1))

    await queue.resume()
    assert (await shop.drain()).states == {"completed": 1}


async def test_a_handler_that_waits_for_a_retry_is_explained(shop: ServiceUnderTest[Shop]) -> None:
    jobs, failed = shop.service.jobs, asyncio.Event()

    @jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        return await (await jobs.charge.create(job.payload)).result()

    @jobs.charge.handle
    async def charge(_: ParcelJob) -> Receipt:
        failed.set()
        raise OSError("no bank")

    await jobs.pack.create(Parcel(number=1))
    await shop.start()
    await failed.wait()

    with pytest.raises(
        NotDrained, match=r"1 more wait for the clock.*does a handler wait for the result of a job"
    ):
        await shop.drain(timeout=timedelta(seconds=0.5))


async def test_a_job_waits_for_its_key_while_another_retries(orders: ServiceUnderTest[OrdersService]) -> None:
    queue, keys = orders.service.jobs.sync_tickets, list[tuple[str | None, int]]()

    @queue.handle
    async def sync(job: SyncTicketsJob) -> SyncTicketsResult:
        keys.append((job.key, job.tries))
        if len(keys) == 1:
            raise OSError("no help desk")
        return SyncTicketsResult(synced=1)

    await queue.create(PAYLOAD)
    await queue.create(PAYLOAD)
    full = await queue.submit(PAYLOAD)

    report = await orders.drain()

    assert isinstance(full, Rejected)
    assert report.states == {"completed": 2}
    assert [key for key, _ in keys] == ["zendesk:shop.example:tickets"] * 3
    assert sorted(tries for _, tries in keys) == [1, 1, 2]
    assert isinstance(await queue.submit(PAYLOAD), Rejected) is False, "the key is free again"


async def test_events_are_captured(orders: ServiceUnderTest[OrdersService]) -> None:
    publisher = orders.service.events.orders.shipped
    shipped = OrderShippedEvent(order_id="o-1", customer_id="c-1", shipped_at=datetime.now(UTC))
    await publisher.publish(shipped.model_copy(update={"order_id": "before"}))
    captured = await orders.capture(publisher)
    assert repr(captured) == "<CapturedEvents Orders.Shipped: 0>"

    published = await publisher.publish(shipped)

    assert await captured.wait_for(1) == [shipped]
    assert captured.events == [shipped]
    assert captured.received[0].id == published.id
    with pytest.raises(TimeoutError, match=r'1 of 2 events "Orders\.Shipped" arrived'):
        await captured.wait_for(2, timeout=timedelta(milliseconds=10))


async def test_a_client_calls_the_service(orders: ServiceUnderTest[OrdersService]) -> None:
    service = orders.service

    @service.rpc.orders.create.handle
    async def create(_: RpcContext, request: CreateOrderRequest) -> CreateOrderResponse:
        await service.jobs.reserve_inventory.create(
            ReserveInventoryPayload(order_id="o-1", items=request.items)
        )
        return CreateOrderResponse(order_id="o-1", status="pending")

    items = [OrderItem(product_id="p-1", quantity=1)]
    async with orders.client(OrdersClient) as client:
        answer = await client.rpc.orders.create(CreateOrderRequest(customer_id="c-1", items=items))

    assert answer == CreateOrderResponse(order_id="o-1", status="pending")
    assert [job.payload for job in await orders.created(service.jobs.reserve_inventory)] == [
        ReserveInventoryPayload(order_id="o-1", items=items)
    ]


async def test_a_group_without_its_handlers_is_an_error() -> None:
    async with service_under_test(OrdersService) as orders:
        with pytest.raises(ConfigurationError, match='event group "shippedAudit" has no handler'):
            await orders.drain()


async def test_each_block_has_a_server_of_its_own(nats_server: NatsServer) -> None:
    async with service_under_test(Shop) as one, service_under_test(Shop) as other:
        await one.service.jobs.pack.create(Parcel(number=1))

        assert len({one.url, other.url, nats_server.url}) == 3
        assert await other.created(other.service.jobs.pack) == []


class ShopWithAudit(Shop):
    """A service whose contract has an optional use."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        runtime.has_use("audit")


class ShopClient(Client):
    """A client of it, which has no uses."""

    contract = Shop.contract


async def test_a_service_is_tested_without_an_optional_use() -> None:
    options = replace(TEST_OPTIONS, absent_uses=frozenset({"audit"}))

    async with service_under_test(ShopWithAudit, options=options) as shop, shop.client(ShopClient) as client:
        assert client.contract == shop.service.contract


async def test_what_cannot_be_drained_or_looked_at_is_named(orders: ServiceUnderTest[OrdersService]) -> None:
    anything: Any = orders  # as a user writes it without a type checker
    rpc = orders.service.rpc.orders.create

    with pytest.raises(
        ConfigurationError, match=r"timeout: a timedelta is expected, got 3: write timedelta\(seconds=3\)"
    ):
        await anything.drain(timeout=3)
    with pytest.raises(ConfigurationError, match=r"expected a job queue, got <RpcEndpoint"):
        await anything.created(rpc)
    with pytest.raises(
        ConfigurationError, match=r"expected an event of a service or a client, got <RpcEndpoint"
    ):
        await anything.capture(rpc)
