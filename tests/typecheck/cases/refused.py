"""What users get wrong: both checkers must refuse the marked lines and no others.

A line marked for one checker is one that the other accepts.
"""

from orders_participant import (
    ChargePaymentJob,
    ChargePaymentPayload,
    ChargePaymentResult,
    CreateOrderRequest,
    CreateOrderResponse,
    GetOrderRequest,
    GetOrderResponseItem,
    NotFoundError,
    Order,
    OrdersClient,
    OrdersService,
    ReserveInventoryJob,
    ReserveInventoryPayload,
    ReserveInventoryPayloadItem,
    ReserveInventoryResult,
)
from orders_participant.uses.notifications import Notification
from trellis_nats import JsonObject, RpcContext
from trellis_nats.testing import ServiceUnderTest, call


async def wrong_types(service: OrdersService, client: OrdersClient, order: Order) -> None:
    await service.jobs.charge_payment.create(ReserveInventoryPayload(order_id="1", items=[]))  # refused
    await service.kv.orders.put("1", "shipped")  # refused
    await service.events.orders.shipped.publish(order)  # refused
    await client.rpc.orders.get(CreateOrderRequest(customer_id="1", items=[]))  # refused
    ReserveInventoryPayload(order_id=1, items=[])  # refused
    ReserveInventoryPayload(order_id="1")  # refused
    ReserveInventoryPayloadItem(product_id="1", quantity="2")  # refused
    raise NotFoundError("no such order", resource="order")  # refused


async def without_a_block(url: str) -> None:
    connecting = OrdersService.connect(url)
    await connecting.start()  # refused
    await OrdersClient.connect(url)  # refused
    with connecting:  # refused
        pass
    async with OrdersService.connect_blocking(url):  # refused
        pass


async def wrong_operations(service: OrdersService) -> None:
    ref = service.jobs.charge_payment.ref("1")
    await ref.retry("again")  # refused
    await ref.retry(actor=7)  # refused
    await ref.replay_edited(ReserveInventoryPayload(order_id="1", items=[]))  # refused
    async for job in service.jobs.charge_payment.dead():
        assert job.snapshot.payload.items  # refused


async def wrong_checkpoints(job: ChargePaymentJob) -> str:
    await job.checkpoint(object())  # refused
    await job.checkpoint({1: "one"})  # refused
    await job.checkpoint(value="by name")  # refused
    return job.last_checkpoint_as(ChargePaymentResult).charge_id  # refused


def other_shape(items: list[GetOrderResponseItem]) -> ReserveInventoryPayload:
    return ReserveInventoryPayload(order_id="1", items=items)  # refused


def mistyped_literal(order: Order) -> bool:
    return order.status == "shiped"  # refused


async def missing_await(service: OrdersService, client: OrdersClient) -> str:
    service.jobs.reserve_inventory.create(ReserveInventoryPayload(order_id="1", items=[]))  # refused
    order = client.rpc.orders.get(GetOrderRequest(order_id="1"))
    return order.status  # refused


async def not_in_the_contract(service: OrdersService, client: OrdersClient) -> None:
    await service.jobs.refund_payment.create()  # refused
    await service.rpc.orders.cancel.handle()  # refused
    await client.jobs.reserve_inventory.create()  # refused
    await client.kv.orders.get("1")  # refused


async def unchecked_use(service: OrdersService, client: OrdersClient, message: Notification) -> None:
    await service.uses.notifications.rpc.notifications.send(message)  # refused
    if service.uses.notifications is not None:
        await service.uses.notifications.rpc.notifications.forget(message)  # refused
        await service.uses.notifications.rpc.notifications.send(message.text)  # refused
        _ = service.uses.notifications.events  # refused
    _ = client.uses  # refused


def rebound(service: OrdersService, other: OrdersService) -> None:
    service.jobs = other.jobs  # refused
    service.jobs.reserve_inventory = other.jobs.reserve_inventory  # refused


def wrong_handlers(service: OrdersService) -> None:
    @service.jobs.reserve_inventory.handle  # refused
    async def another_job(job: ChargePaymentJob) -> ChargePaymentResult:
        return ChargePaymentResult(charge_id=job.payload.order_id)

    @service.jobs.charge_payment.handle  # refused
    async def another_result(job: ChargePaymentJob) -> ReserveInventoryResult:
        return ReserveInventoryResult(reserved=bool(job.payload.order_id))

    @service.rpc.orders.create.handle  # refused
    async def another_request(context: RpcContext, request: GetOrderRequest) -> CreateOrderResponse:
        return CreateOrderResponse(order_id=request.order_id, status=context.request_id)

    @service.jobs.reserve_inventory.handle  # refused by pyright
    async def no_annotation(job) -> ReserveInventoryResult:  # refused
        return ReserveInventoryResult(reserved=True)

    @service.jobs.reserve_inventory.handle
    async def wrong_return(job: ReserveInventoryJob) -> ReserveInventoryResult:
        return job.payload  # refused


async def tests(orders: ServiceUnderTest[OrdersService], order: Order) -> None:
    await call(orders.service.jobs.charge_payment, order)  # refused
    _ = (await orders.drain()).one(orders.service.jobs.reserve_inventory).result.charge_id  # refused
    orders.drain()  # refused
    async with orders.client(OrdersService):  # refused
        pass


def upcasters(service: OrdersService, payload: ChargePaymentPayload) -> None:
    @service.jobs.charge_payment.upcast(from_digest="1" * 43)  # refused
    def another_payload(old: JsonObject) -> ReserveInventoryPayload:
        return ReserveInventoryPayload(order_id=str(old), items=[])

    @service.jobs.charge_payment.upcast(from_digest="2" * 43)  # refused
    def wire_form(old: JsonObject) -> JsonObject:
        return old

    @service.jobs.charge_payment.upcast  # refused
    async def asynchronous(old: JsonObject) -> ChargePaymentPayload:
        return payload
