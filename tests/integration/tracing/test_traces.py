"""One trace through a call, its jobs and an event; and what belongs to it."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, get_tracer
from orders_participant import (
    ChargePaymentJob,
    ChargePaymentPayload,
    ChargePaymentResult,
    CreateOrderRequest,
    CreateOrderResponse,
    OrdersClient,
    OrderShippedEvent,
    OrdersService,
    ReserveInventoryJob,
    ReserveInventoryPayload,
    ReserveInventoryResult,
)
from trellis_nats import DeliveredEvent, RpcContext
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.spans import Spans, id_of, is_child, links_of, record_spans, trace_of

SOON = timedelta(seconds=10)
REQUEST = CreateOrderRequest(customer_id="secret-customer", items=[])


def register(service: OrdersService, handled: list[str]) -> None:
    """A call makes a job, which makes a second one, which publishes an event, which a group handles."""

    @service.rpc.orders.create.handle
    async def create(context: RpcContext, request: CreateOrderRequest) -> CreateOrderResponse:
        await service.jobs.reserve_inventory.create(ReserveInventoryPayload(order_id="o-1", items=[]))
        return CreateOrderResponse(order_id="o-1", status="pending")

    @service.jobs.reserve_inventory.handle
    async def reserve(job: ReserveInventoryJob) -> ReserveInventoryResult:
        with get_tracer("a program").start_as_current_span("look up the stock"):
            await service.jobs.charge_payment.create(
                ChargePaymentPayload(order_id="o-1", customer_id="secret-customer", amount_cents=1)
            )
        return ReserveInventoryResult(reserved=True)

    @service.jobs.charge_payment.handle
    async def charge(job: ChargePaymentJob) -> ChargePaymentResult:
        await service.events.orders.shipped.publish(
            OrderShippedEvent(order_id="o-1", customer_id="secret-customer", shipped_at=datetime.now(UTC))
        )
        return ChargePaymentResult(charge_id="c-1")

    @service.consumers.shipped_audit.orders_shipped.handle
    async def audit(event: DeliveredEvent[OrderShippedEvent]) -> None:
        handled.append(event.context.trace_id)


async def order(server: NatsServer, spans: Spans) -> list[str]:
    """Run all of it, until the group has handled the event."""
    handled: list[str] = []
    async with OrdersService.connect(server.url) as service, OrdersClient.connect(server.url) as client:
        register(service, handled)
        await service.start()
        async with client.events.orders.shipped.subscribe() as events:
            with spans.provider.get_tracer("a program").start_as_current_span("checkout"):
                await client.rpc.orders.create(REQUEST)
            received = await asyncio.wait_for(anext(events), SOON.total_seconds())
            assert received.event.order_id == "o-1"
        await eventually(lambda: handled)
    return handled


async def test_one_trace_leads_from_a_call_through_two_jobs_to_an_event(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        handled = await order(nats_server, spans)

    checkout = spans.one("checkout")
    call, served = spans.one("Orders.Create", SpanKind.CLIENT), spans.one("Orders.Create", SpanKind.SERVER)
    first, reserve = spans.one("create reserve-inventory"), spans.one("process reserve-inventory")
    second, charge = spans.one("create charge-payment"), spans.one("process charge-payment")
    lookup, published = spans.one("look up the stock"), spans.one("publish Orders.Shipped")
    audit, received = spans.one("process Orders.Shipped"), spans.one("receive Orders.Shipped")
    steps = [checkout, call, served, first, reserve, lookup, second, charge, published, audit]

    assert all(is_child(after, before) for before, after in pairwise(steps))
    assert is_child(received, published)
    assert handled == [trace_of(checkout)]
    assert (first.kind, reserve.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert (published.kind, audit.kind, received.kind) == (
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
        SpanKind.CLIENT,
    )
    for maker, worker in [(first, reserve), (second, charge), (published, audit), (published, received)]:
        assert links_of(worker) == {"creation": id_of(maker)}
    assert spans.open == []


async def test_no_span_has_a_value_of_a_payload(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        await order(nats_server, spans)

    assert "secret-customer" not in "".join(span.to_json() for span in spans.finished)


async def test_a_trace_that_is_not_sampled_still_travels(nats_server: NatsServer) -> None:
    with record_spans(ParentBased(ALWAYS_OFF)) as spans:
        handled = await order(nats_server, spans)

    assert len(handled) == 1
    assert spans.finished == []


async def test_without_a_provider_a_trace_travels_as_before(nats_server: NatsServer) -> None:
    """The caller's span is of a provider that is not the program's."""
    spans = Spans()

    handled = await order(nats_server, spans)

    (checkout,) = spans.finished
    assert handled == [trace_of(checkout)]
