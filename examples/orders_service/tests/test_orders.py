"""Tests of the orders service. They need `pip install "trellis-nats[testing]" pytest-asyncio` and `asyncio_mode = "auto"`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from gateway import PaymentGateway
from main import (
    cancel_order,
    register_consumers,
    register_feeds,
    register_jobs,
    register_keyed_jobs,
    register_operations,
    register_rpcs,
)
from orders_participant import (
    ChargePaymentPayload,
    ChargePaymentResult,
    CreateOrderRequest,
    GetOrderRequest,
    NotFoundError,
    NotifyWarehousePayload,
    Order,
    OrderItem,
    OrdersClient,
    OrderShippedEvent,
    OrdersLiveRequest,
    OrdersService,
    ProcessOrderRequest,
    RefreshCatalogPayload,
    ReserveInventoryPayload,
    ReserveInventoryResult,
    SyncTicketsPayload,
)
from remote import Remote
from trellis_nats import Coalesced, Entry, JobCancelled, JobState, OperationCancelled, Rejected
from trellis_nats.testing import ServiceUnderTest, active_job, call, service_under_test
from typing_extensions import override

ITEMS = [OrderItem(product_id="p-1", quantity=2)]
RESERVE = ReserveInventoryPayload(order_id="o-1", items=ITEMS)
CHARGE = ChargePaymentPayload(order_id="o-1", customer_id="c-1", amount_cents=3998)


class FakeGateway(PaymentGateway):
    """Fails as often as a test says, then charges."""

    def __init__(self) -> None:
        super().__init__()
        self.failures_left = 0
        self.charged: list[str] = []
        self.refunded: list[str] = []

    @override
    async def charge(self, order_id: str, amount_cents: float) -> str:
        if self.failures_left:
            self.failures_left -= 1
            raise TimeoutError("the payment gateway did not answer")
        self.charged.append(order_id)
        return f"ch_{order_id}"

    @override
    async def refund(self, order_id: str) -> None:
        self.refunded.append(order_id)


class FakeRemote(Remote):
    """Answers when a test says so."""

    def __init__(self) -> None:
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    @override
    async def fetch(self, name: str) -> int:
        self.was_asked.set()
        await self.may_answer.wait()
        return len(name)


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def remote() -> FakeRemote:
    return FakeRemote()


@pytest.fixture
async def orders(gateway: FakeGateway, remote: FakeRemote) -> AsyncIterator[ServiceUnderTest[OrdersService]]:
    """The service with all its handlers, on a server of its own, with one order stored."""
    async with service_under_test(OrdersService) as orders:
        service = orders.service
        register_rpcs(service)
        register_operations(service)
        register_feeds(service)
        register_consumers(service)
        register_jobs(service, gateway)
        register_keyed_jobs(service, remote)
        order = Order(
            order_id="o-1", customer_id="c-1", status="pending", items=ITEMS, created_at=datetime.now(UTC)
        )
        await service.kv.orders.put("o-1", order)
        yield orders


# --- a handler, called directly -----------------------------------------------------------------------------------


async def test_reserving_returns_what_was_reserved(orders: ServiceUnderTest[OrdersService]) -> None:
    result = await call(orders.service.jobs.reserve_inventory, RESERVE)

    assert result == ReserveInventoryResult(reserved=True)
    created = await orders.created(orders.service.jobs.charge_payment)
    assert [job.payload for job in created] == [CHARGE]


async def test_reserving_reports_its_progress(orders: ServiceUnderTest[OrdersService]) -> None:
    job = active_job(orders.service.jobs.reserve_inventory, RESERVE)

    await job.run()

    assert [(report.step, report.current) for report in job.progress_reports] == [
        ("reserving", 0),
        ("reserved", 1),
    ]


async def test_a_cancelled_job_creates_no_charge(orders: ServiceUnderTest[OrdersService]) -> None:
    job = active_job(orders.service.jobs.reserve_inventory, RESERVE)
    job.cancel()

    with pytest.raises(JobCancelled):
        await job.run()

    assert await orders.created(orders.service.jobs.charge_payment) == []


async def test_an_unknown_order_cannot_be_reserved(orders: ServiceUnderTest[OrdersService]) -> None:
    unknown = ReserveInventoryPayload(order_id="o-2", items=ITEMS)

    with pytest.raises(NotFoundError, match="order o-2 not found"):
        await call(orders.service.jobs.reserve_inventory, unknown)


# --- through the queue --------------------------------------------------------------------------------------------


async def test_a_charge_is_retried_until_the_gateway_answers(
    orders: ServiceUnderTest[OrdersService], gateway: FakeGateway
) -> None:
    gateway.failures_left = 3
    await orders.service.jobs.charge_payment.create(CHARGE)

    report = await orders.drain()

    charge = report.one(orders.service.jobs.charge_payment)
    assert (charge.state, charge.attempts) == (JobState.COMPLETED, 4)
    assert charge.result == ChargePaymentResult(charge_id="ch_o-1")
    assert [wait.total_seconds() for wait in charge.waits] == [5, 30, 120]
    assert gateway.charged == ["o-1"]


async def test_a_charge_is_dead_after_five_attempts(
    orders: ServiceUnderTest[OrdersService], gateway: FakeGateway
) -> None:
    gateway.failures_left = 100
    await orders.service.jobs.charge_payment.create(CHARGE)

    report = await orders.drain()

    charge = report.one(orders.service.jobs.charge_payment)
    assert (charge.state, charge.attempts) == (JobState.DEAD, 5)
    assert "the payment gateway did not answer" in charge.errors[-1]
    assert await orders.created(orders.service.jobs.notify_warehouse) == []


async def test_a_charge_runs_when_its_delay_is_over(
    orders: ServiceUnderTest[OrdersService], gateway: FakeGateway
) -> None:
    await orders.service.jobs.charge_payment.create(CHARGE, delay=timedelta(hours=2))

    await orders.drain(advance=timedelta(hours=1, minutes=59))
    assert gateway.charged == []

    await orders.drain(advance=timedelta(minutes=1))
    assert gateway.charged == ["o-1"]


async def test_an_account_is_synchronised_once_at_a_time(
    orders: ServiceUnderTest[OrdersService], remote: FakeRemote
) -> None:
    queue = orders.service.jobs.sync_tickets
    shop, other = SyncTicketsPayload(origin="shop.example"), SyncTicketsPayload(origin="other.example")
    await queue.create(shop)
    await queue.create(shop)

    third = await queue.submit(shop)
    await queue.create(other)
    remote.may_answer.set()
    report = await orders.drain()

    assert isinstance(third, Rejected)
    assert third.key == "zendesk:shop.example:tickets"
    assert report.states == {"completed": 3}


async def test_a_catalog_that_waits_stands_in_for_the_next(
    orders: ServiceUnderTest[OrdersService], remote: FakeRemote
) -> None:
    queue = orders.service.jobs.refresh_catalog
    supplier = RefreshCatalogPayload(supplier="s-1")
    await queue.create(supplier)
    await orders.start()
    await remote.was_asked.wait()
    waiting = await queue.create(supplier)

    third = await queue.submit(supplier)
    remote.may_answer.set()
    report = await orders.drain()

    assert isinstance(third, Coalesced)
    assert third.existing.id == waiting.id
    assert report.states == {"completed": 2}


# --- RPCs, events and feeds ---------------------------------------------------------------------------------------


async def test_an_order_is_accepted_worked_and_shipped(orders: ServiceUnderTest[OrdersService]) -> None:
    shipped = await orders.capture(orders.service.events.orders.shipped)

    async with orders.client(OrdersClient) as client:
        accepted = await client.rpc.orders.create(CreateOrderRequest(customer_id="c-42", items=ITEMS))
        report = await orders.drain()
        order = await client.rpc.orders.get(GetOrderRequest(order_id=accepted.order_id))

    assert report.states == {"completed": 3}
    assert order.status == "shipped"
    assert [event.customer_id for event in shipped.events] == ["c-42"]


async def test_an_unknown_order_is_a_typed_error(orders: ServiceUnderTest[OrdersService]) -> None:
    async with orders.client(OrdersClient) as client:
        with pytest.raises(NotFoundError) as error:
            await client.rpc.orders.get(GetOrderRequest(order_id="o-2"))

    assert (error.value.resource, error.value.resource_id) == ("order", "o-2")


async def test_every_shipment_is_audited(
    orders: ServiceUnderTest[OrdersService], capsys: pytest.CaptureFixture[str]
) -> None:
    await orders.service.jobs.notify_warehouse.create(NotifyWarehousePayload(order_id="o-1", items=ITEMS))

    await orders.drain()

    assert "order shipped" in capsys.readouterr().out


async def test_a_feed_shows_the_orders_of_its_customer(orders: ServiceUnderTest[OrdersService]) -> None:
    def shipped(order_id: str, customer_id: str) -> OrderShippedEvent:
        return OrderShippedEvent(order_id=order_id, customer_id=customer_id, shipped_at=datetime.now(UTC))

    async with (
        orders.client(OrdersClient) as client,
        client.feeds.orders.live(OrdersLiveRequest(customer_id="c-1")) as live,
    ):
        publisher = orders.service.events.orders.shipped
        await publisher.publish(shipped("o-7", "c-7"))
        await publisher.publish(shipped("o-1", "c-1"))

        assert (await anext(aiter(live))).event.order_id == "o-1"


# --- operations ---------------------------------------------------------------------------------------------------


async def test_an_operation_reports_each_step_of_an_order(orders: ServiceUnderTest[OrdersService]) -> None:
    async with orders.client(OrdersClient) as client:
        run = await client.operations.orders.process.start(ProcessOrderRequest(order_id="o-1"))
        await orders.service.jobs.reserve_inventory.create(RESERVE)
        await orders.drain()

        result = await run.result()
        snapshot = await run.get()

    assert result.status == "shipped"
    assert snapshot.progress is not None
    assert (snapshot.progress.step, snapshot.progress.message) == ("shipped", "Shipped")


async def test_cancelling_the_operation_cancels_the_order(
    orders: ServiceUnderTest[OrdersService], gateway: FakeGateway
) -> None:
    gateway.failures_left = 1
    async with orders.client(OrdersClient) as client:
        run = await client.operations.orders.process.start(ProcessOrderRequest(order_id="o-1"))
        await orders.service.jobs.reserve_inventory.create(RESERVE)
        await orders.drain(advance=timedelta(0))

        await run.cancel()
        async for entry in orders.service.kv.orders.watch("o-1"):
            if isinstance(entry, Entry) and entry.value.status == "cancelled":
                break
        report = await orders.drain()

        with pytest.raises(OperationCancelled):
            await run.result()

    charge = report.one(orders.service.jobs.charge_payment)
    assert (charge.state, charge.errors[-1]) == (JobState.FAILED, "the order was cancelled")
    assert (gateway.charged, gateway.refunded) == ([], ["o-1"])


async def test_an_order_that_has_shipped_is_not_cancelled(orders: ServiceUnderTest[OrdersService]) -> None:
    await orders.service.jobs.charge_payment.create(CHARGE)
    await orders.drain(advance=timedelta(0))

    await cancel_order(orders.service, "o-1")

    entry = await orders.service.kv.orders.get("o-1")
    assert entry is not None
    assert entry.value.status == "shipped"


async def test_an_unknown_order_cannot_be_followed(orders: ServiceUnderTest[OrdersService]) -> None:
    async with orders.client(OrdersClient) as client:
        run = await client.operations.orders.process.start(ProcessOrderRequest(order_id="o-2"))
        with pytest.raises(NotFoundError, match="order o-2 not found"):
            await run.result()
