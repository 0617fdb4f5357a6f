"""What users write, as the guide has it: both checkers must accept every line."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_type

from orders_participant import (
    ChargePaymentJob,
    ChargePaymentPayload,
    ChargePaymentResult,
    CreateOrderRequest,
    CreateOrderRequestItem,
    CreateOrderResponse,
    GetOrderRequest,
    GetOrderResponse,
    NotFoundError,
    NotFoundErrorData,
    NotifyWarehousePayload,
    Order,
    OrdersClient,
    OrderShippedEvent,
    OrdersLiveEvent,
    OrdersLiveEventEvent,
    OrdersService,
    ReserveInventoryJob,
    ReserveInventoryPayload,
    ReserveInventoryPayloadItem,
    ReserveInventoryResult,
)
from orders_participant.uses import NotificationsUse
from orders_participant.uses.notifications import NoChannelError, Notification, NotificationSent
from pydantic import BaseModel, JsonValue
from trellis_nats import DeliveredEvent, ErrorDetail, JsonObject, RpcContext, testing
from trellis_nats.testing import ServiceUnderTest
from uses_package import ThingsService
from uses_package.uses.shop import Sale, Thing


class Position(BaseModel):
    """How far a handler is."""

    row: int = 0


async def serve(url: str) -> None:
    async with OrdersService.connect(url) as service:

        @service.rpc.orders.create.handle
        async def create_order(context: RpcContext, request: CreateOrderRequest) -> CreateOrderResponse:
            await service.jobs.reserve_inventory.create(
                ReserveInventoryPayload(order_id="1", items=request.items)
            )
            return CreateOrderResponse(order_id="1", status="pending")

        @service.rpc.orders.get.handle
        async def get_order(context: RpcContext, request: GetOrderRequest) -> GetOrderResponse:
            entry = await service.kv.orders.get(request.order_id)
            if entry is None:
                raise NotFoundError("no such order", resource="order", resource_id=request.order_id)
            assert_type(entry.value, Order)
            return GetOrderResponse(
                order_id=entry.value.order_id, customer_id="1", status=entry.value.status, items=[]
            )

        @service.jobs.reserve_inventory.handle
        async def reserve_inventory(job: ReserveInventoryJob) -> ReserveInventoryResult:
            assert_type(job.payload, ReserveInventoryPayload)
            assert_type(job.payload.items[0].quantity, float)
            await job.progress(step="reserving", message="Checking inventory")
            await service.events.orders.shipped.publish(
                OrderShippedEvent(
                    order_id=job.payload.order_id, customer_id="1", shipped_at=datetime.now(UTC)
                )
            )
            return ReserveInventoryResult(reserved=not job.is_cancelled)

        async def charge_payment(job: ChargePaymentJob) -> ChargePaymentResult:
            assert_type(job.last_checkpoint_as(Position), Position | None)
            assert_type(job.last_checkpoint_as(list[int]), list[int] | None)
            assert_type(job.last_checkpoint, JsonValue)
            position = job.last_checkpoint_as(Position) or Position()
            await job.checkpoint(position)
            await job.checkpoint({"row": position.row, "done": ["a", "b"]})
            await job.checkpoint(ChargePaymentResult(charge_id="1"))
            return ChargePaymentResult(charge_id=job.payload.order_id)

        service.jobs.charge_payment.handle(charge_payment)
        await service.run()


async def call(url: str) -> float:
    async with OrdersClient.connect(url) as client:
        created = await client.rpc.orders.create(
            CreateOrderRequest(customer_id="1", items=[CreateOrderRequestItem(product_id="1", quantity=2)])
        )
        assert_type(created, CreateOrderResponse)
        try:
            order = await client.rpc.orders.get(GetOrderRequest(order_id=created.order_id))
        except NotFoundError as error:
            assert_type(error.resource_id, str)
            raise
        return order.items[0].quantity


async def operate(service: OrdersService) -> None:
    async for job in service.jobs.charge_payment.dead():
        assert_type(job.snapshot.payload, ChargePaymentPayload)
        assert_type(job.snapshot.last_error_detail, ErrorDetail | None)
        ref = await job.replay(reason="the gateway is back", actor="anna")
        assert_type(await ref.result(), ChargePaymentResult)
        await job.dismiss(reason="no")
    async for job in service.jobs.dead():
        await job.replay(deadline=timedelta(hours=1))
    ref = service.jobs.charge_payment.ref("1")
    assert_type((await ref.retry(reason="again", actor="anna")).payload, ChargePaymentPayload)
    await ref.dismiss()
    await ref.cancel("no", actor="anna")
    new = await ref.replay_edited(
        ChargePaymentPayload(order_id="1", customer_id="1", amount_cents=1), request_id="r"
    )
    assert_type(await new.result(), ChargePaymentResult)
    assert_type((await service.jobs.charge_payment.stats()).dead, int | None)


def path_names_of_one_shape(item: ReserveInventoryPayloadItem) -> NotifyWarehousePayload:
    asked: list[CreateOrderRequestItem] = [item]
    return NotifyWarehousePayload(order_id="1", items=asked)


async def use(service: OrdersService, message: Notification) -> str | None:
    notifications = service.uses.notifications
    assert_type(notifications, NotificationsUse | None)
    if notifications is None:
        return None
    try:
        sent = await notifications.rpc.notifications.send(message)
    except NoChannelError as error:
        assert_type(error.customer_id, str)
        raise
    assert_type(sent, NotificationSent)
    return sent.notification_id


async def uses_of_every_kind(service: ThingsService, thing: Thing) -> None:
    shop = service.uses.shop
    await shop.events.shop.wished.publish(thing)
    async with shop.events.shop.sold.subscribe() as sales, shop.feeds.prices(thing) as prices:
        assert_type((await anext(sales)).event, Sale)
        assert_type(await anext(prices), Sale)

    run = await shop.operations.shop.pack.start(thing)
    await run.signal.hurry(thing)
    assert_type(await run.result(), Sale)

    @service.consumers.everything.shop_sold.handle
    async def sold(event: DeliveredEvent[Sale]) -> None:
        assert_type(event.event.region, str)


def wire_values(data: NotFoundErrorData, payload: ChargePaymentPayload) -> tuple[str | None, float]:
    assert_type(data.type, Literal["NotFoundError"])
    return data.trace_id, payload.amount_cents


def an_embedded_schema_is_its_class(event: OrderShippedEvent) -> OrderShippedEvent:
    live = OrdersLiveEvent(name="Orders.Shipped", event=event)
    assert_type(live.event, OrderShippedEvent)
    renamed: OrdersLiveEventEvent = event
    return renamed


async def tests(orders: ServiceUnderTest[OrdersService], payload: ReserveInventoryPayload) -> None:
    queue = orders.service.jobs.reserve_inventory
    assert_type(await testing.call(queue, payload), ReserveInventoryResult)
    assert_type((await orders.created(queue))[0].payload, ReserveInventoryPayload)
    report = await orders.drain()
    assert_type(report.one(queue).result, ReserveInventoryResult | None)
    captured = await orders.capture(orders.service.events.orders.shipped)
    assert_type(captured.events, list[OrderShippedEvent])
    async with orders.client(OrdersClient) as client:
        assert_type(client, OrdersClient)


def upcasters(service: OrdersService) -> None:
    charges = service.jobs.charge_payment

    @charges.upcast(from_digest="1" * 43)
    @charges.upcast(from_digest="2" * 43)
    def from_amount(old: JsonObject) -> ChargePaymentPayload:
        old["amountCents"] = old.pop("amount")
        return ChargePaymentPayload.model_validate(old)

    @charges.upcast
    def by_shape(old: dict[str, Any]) -> ChargePaymentPayload:
        return ChargePaymentPayload(order_id=old["id"], customer_id=old["by"], amount_cents=old["amount"])

    assert_type(charges.read_payload({"amount": 1}, digest="1" * 43), ChargePaymentPayload)
