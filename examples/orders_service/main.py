"""The orders service: reserve the stock, take the payment, notify the warehouse."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

import structlog
from gateway import PaymentGateway
from orders_participant import (
    ChargePaymentJob,
    ChargePaymentPayload,
    ChargePaymentResult,
    CreateOrderRequest,
    CreateOrderResponse,
    GetOrderRequest,
    GetOrderResponse,
    NotFoundError,
    NotifyWarehouseJob,
    NotifyWarehousePayload,
    NotifyWarehouseResult,
    Order,
    OrderShippedEvent,
    OrdersLiveEvent,
    OrdersLiveRequest,
    OrdersProcessOperation,
    OrdersService,
    ProcessOrderProgress,
    ProcessOrderResult,
    PublishStockJob,
    RefreshCatalogJob,
    ReserveInventoryJob,
    ReserveInventoryPayload,
    ReserveInventoryResult,
    SyncTicketsJob,
    SyncTicketsResult,
)
from orders_participant.uses.notifications import NoChannelError, Notification
from remote import Remote
from trellis_nats import (
    DeletedEntry,
    DeliveredEvent,
    Entry,
    FeedContext,
    JobFailed,
    NoResponders,
    Options,
    RevisionMismatch,
    RpcContext,
)
from ulid import ULID

log = structlog.get_logger()

PRICE_CENTS = 1999


STEPS = {
    "pending": "Reserving the stock",
    "reserved": "Stock is reserved, taking the payment",
    "paid": "Paid, telling the warehouse",
    "shipped": "Shipped",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


async def load_entry(service: OrdersService, order_id: str) -> Entry[Order]:
    """Return an order of the bucket, or raise the error that an RPC caller receives."""
    entry = await service.kv.orders.get(order_id)
    if entry is None:
        raise NotFoundError(f"order {order_id} not found", resource="order", resource_id=order_id)
    return entry


async def advance(
    service: OrdersService, entry: Entry[Order], status: Literal["reserved", "paid", "shipped", "cancelled"]
) -> Order:
    """Store how far an order is, unless it is further already, as it may be when a job runs again.

    If the order has changed since it was read, this raises `RevisionMismatch`, and the job runs again.
    """
    steps = [*STEPS]
    if steps.index(entry.value.status) >= steps.index(status):
        return entry.value
    changed = entry.value.model_copy(update={"status": status})
    return (await service.kv.orders.update(entry, changed)).value


async def cancel_order(service: OrdersService, order_id: str) -> None:
    """Cancel an order that is not paid: its next job fails."""
    entry = await load_entry(service, order_id)
    while entry.value.status in {"pending", "reserved"}:
        with suppress(RevisionMismatch):
            await advance(service, entry, "cancelled")
        entry = await load_entry(service, order_id)


async def notify_customer(service: OrdersService, order: Order) -> None:
    """Send the customer a message if there is a notifications service: an order ships without one too."""
    notifications = service.uses.notifications
    if notifications is None:
        return
    try:
        await notifications.rpc.notifications.send(
            Notification(customer_id=order.customer_id, text=f"Order {order.order_id} has shipped.")
        )
    except (NoChannelError, NoResponders) as error:
        log.info("customer not notified", order_id=order.order_id, reason=str(error))


def register_rpcs(service: OrdersService) -> None:
    """Register the handlers of the RPCs."""

    @service.rpc.orders.create.handle
    async def create_order(context: RpcContext, request: CreateOrderRequest) -> CreateOrderResponse:
        order_id = str(ULID())
        await service.kv.orders.put(
            order_id,
            Order(
                order_id=order_id,
                customer_id=request.customer_id,
                status="pending",
                items=request.items,
                created_at=datetime.now(UTC),
            ),
        )
        await service.jobs.reserve_inventory.create(
            ReserveInventoryPayload(order_id=order_id, items=request.items)
        )
        log.info("order accepted", order_id=order_id, request_id=context.request_id)
        return CreateOrderResponse(order_id=order_id, status="pending")

    @service.rpc.orders.get.handle
    async def get_order(context: RpcContext, request: GetOrderRequest) -> GetOrderResponse:
        order = (await load_entry(service, request.order_id)).value
        log.info("order read", order_id=order.order_id, request_id=context.request_id)
        return GetOrderResponse.model_validate(order.model_dump())


@asynccontextmanager
async def cancelling_order(service: OrdersService, operation: OrdersProcessOperation) -> AsyncGenerator[None]:
    """Cancel the order if the caller cancels the operation in this block."""

    async def cancel() -> None:
        await operation.cancelled.wait()
        await cancel_order(service, operation.input.order_id)

    task = asyncio.create_task(cancel())
    try:
        yield
    finally:
        if not operation.is_cancelled:
            task.cancel()
        await asyncio.wait((task,))


def register_operations(service: OrdersService) -> None:
    """Register the handlers of the operations. One that only follows an order may run again in another process."""

    @service.operations.orders.process.handle(resume="run-again")
    async def process_order(operation: OrdersProcessOperation) -> ProcessOrderResult:
        order_id = operation.input.order_id
        await load_entry(service, order_id)
        async with (
            cancelling_order(service, operation),
            aclosing(service.kv.orders.watch(order_id)) as entries,
        ):
            async for entry in entries:
                if isinstance(entry, DeletedEntry):
                    break
                status = entry.value.status
                await operation.progress(ProcessOrderProgress(step=status, message=STEPS[status]))
                if status in {"shipped", "failed", "cancelled"}:
                    return ProcessOrderResult(order_id=order_id, status=status)
        raise NotFoundError(f"order {order_id} is gone", resource="order", resource_id=order_id)


def register_feeds(service: OrdersService) -> None:
    """Register the handlers of the feeds: each runs once for every caller that opens its feed."""

    @service.feeds.orders.live.handle
    async def orders_live(context: FeedContext, request: OrdersLiveRequest) -> AsyncIterator[OrdersLiveEvent]:
        log.info("orders feed opened", customer_id=request.customer_id, request_id=context.request_id)
        async with service.events.orders.shipped.subscribe() as shipped:
            async for received in shipped:
                if request.customer_id in {None, received.event.customer_id}:
                    yield OrdersLiveEvent(name="Orders.Shipped", event=received.event)


def register_consumers(service: OrdersService) -> None:
    """Register the handlers of the event consumer groups: one instance handles each event, in order."""

    @service.consumers.shipped_audit.orders_shipped.handle
    async def audit_shipped(event: DeliveredEvent[OrderShippedEvent]) -> None:
        log.info(
            "order shipped", order_id=event.event.order_id, sequence=event.sequence, attempt=event.attempt
        )


def register_jobs(service: OrdersService, gateway: PaymentGateway) -> None:
    """Register the handlers of the queues that process one order."""

    @service.jobs.reserve_inventory.handle
    async def reserve_inventory(job: ReserveInventoryJob) -> ReserveInventoryResult:
        log.info(
            "reserve inventory job started",
            request_id=job.context.request_id,
            trace_id=job.context.trace_id,
        )
        await job.progress(step="reserving", message="Checking inventory", current=0, total=2)
        entry = await load_entry(service, job.payload.order_id)
        job.raise_if_cancelled()
        if entry.value.status == "cancelled":
            raise JobFailed("the order was cancelled")
        order = await advance(service, entry, "reserved")
        await job.progress(step="reserved", message="Stock is reserved", current=1, total=2)
        amount = sum(item.quantity for item in job.payload.items) * PRICE_CENTS
        await service.jobs.charge_payment.create(
            ChargePaymentPayload(order_id=order.order_id, customer_id=order.customer_id, amount_cents=amount)
        )
        return ReserveInventoryResult(reserved=True)

    @service.jobs.charge_payment.handle
    async def charge_payment(job: ChargePaymentJob) -> ChargePaymentResult:
        log.info(
            "charge payment job started",
            request_id=job.context.request_id,
            redelivery=job.redelivery_count,
        )
        await job.progress(step="charging", message="Asking the payment gateway")
        entry = await load_entry(service, job.payload.order_id)
        if entry.value.status == "cancelled":
            # Perhaps while the attempt before this one charged it.
            await gateway.refund(job.payload.order_id)
            raise JobFailed("the order was cancelled")
        # The order id is the gateway's idempotency key: a second attempt does not charge again.
        charge_id = await gateway.charge(job.payload.order_id, job.payload.amount_cents)
        order = await advance(service, entry, "paid")
        await service.jobs.notify_warehouse.create(
            NotifyWarehousePayload(order_id=order.order_id, items=order.items)
        )
        return ChargePaymentResult(charge_id=charge_id)

    @service.jobs.notify_warehouse.handle
    async def notify_warehouse(job: NotifyWarehouseJob) -> NotifyWarehouseResult:
        log.info("notify warehouse job started", request_id=job.context.request_id)
        order = await advance(service, await load_entry(service, job.payload.order_id), "shipped")
        await service.events.orders.shipped.publish(
            OrderShippedEvent(
                order_id=order.order_id, customer_id=order.customer_id, shipped_at=datetime.now(UTC)
            ),
            idempotency_key=job.id,
        )
        await notify_customer(service, order)
        return NotifyWarehouseResult(notified=True)


def register_keyed_jobs(service: OrdersService, remote: Remote) -> None:
    """Register the handlers of the keyed queues: one job per key runs at a time, across all processes."""

    @service.jobs.sync_tickets.handle
    async def sync_tickets(job: SyncTicketsJob) -> SyncTicketsResult:
        log.info("sync tickets job started", key=job.key, request_id=job.context.request_id)
        return SyncTicketsResult(synced=await remote.fetch(job.payload.origin))

    @service.jobs.refresh_catalog.handle
    async def refresh_catalog(job: RefreshCatalogJob) -> None:
        log.info("refresh catalog job started", key=job.key)
        await remote.fetch(job.payload.supplier)

    @service.jobs.publish_stock.handle
    async def publish_stock(job: PublishStockJob) -> None:
        log.info("publish stock job started", key=job.key, quantity=job.payload.quantity)
        await remote.fetch(job.payload.product_id)


async def main() -> None:
    """Serve and work until SIGTERM."""
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    options = Options(
        absent_uses=frozenset(os.environ.get("ABSENT_USES", "").split()),
        # Enough for every job. An operation lasts as long as its order, and continues in another process.
        shutdown_grace=timedelta(seconds=3),
    )
    async with OrdersService.connect(url, options=options) as service:
        register_rpcs(service)
        register_operations(service)
        register_feeds(service)
        register_consumers(service)
        register_jobs(service, PaymentGateway())
        register_keyed_jobs(service, Remote())
        log.info("orders service started", contract=service.contract.id)
        await service.run()


if __name__ == "__main__":
    asyncio.run(main())
