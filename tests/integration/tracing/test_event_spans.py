"""The spans of events: publishing, each attempt of a group, and reading a subscription."""

import asyncio
from datetime import timedelta

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from trellis_nats import DeliveredEvent
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.context import current_context
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.audit import AuditService
from tests.support.orders import Moved, OrdersClient, Shipped
from tests.support.spans import attributes_of, id_of, is_child, links_of, record_spans, trace_of


async def ignore(event: DeliveredEvent[Moved]) -> None:
    pass


def outcome_of(span: ReadableSpan) -> tuple[object, object, object, StatusCode]:
    attributes = attributes_of(span)
    return (
        attributes.get("trellis.attempt"),
        attributes.get("trellis.outcome"),
        attributes.get("error.type"),
        span.status.status_code,
    )


async def test_each_attempt_of_a_group_has_a_span(nats_server: NatsServer) -> None:
    async def fail(event: DeliveredEvent[Shipped]) -> None:
        raise ConnectionError("secret-host")

    with record_spans() as spans, LogSignals() as signals:
        async with AuditService.connect(nats_server.url) as service:
            service.audit.shipped.handle(fail)
            service.audit.moved.handle(ignore)
            await service.start()
            published = await service.shipped.publish(Shipped(order_id="1"))
            record = await signals.wait_for(LogEvent.EVENT_GIVEN_UP)

    maker, attempts = spans.one("publish Orders.Shipped"), spans.named("process Orders.Shipped")
    assert [outcome_of(attempt) for attempt in attempts] == [
        (1, "retry", "ConnectionError", StatusCode.ERROR),
        (2, "retry", "ConnectionError", StatusCode.ERROR),
        (3, "dead", "ConnectionError", StatusCode.ERROR),
    ]
    for attempt in attempts:
        assert is_child(attempt, maker)
        assert links_of(attempt) == {"creation": id_of(maker)}
        assert [event.name for event in attempt.events] == ["exception"]
    assert attributes_of(maker) == {
        "messaging.system": "nats",
        "messaging.operation.type": "send",
        "messaging.operation.name": "publish",
        "messaging.destination.name": "Orders.Shipped",
        "messaging.message.id": published.id,
        "trellis.surface": "event",
    }
    assert vars(record)["trace_id"] == trace_of(maker)
    assert attributes_of(attempts[0])["messaging.consumer.group.name"] == "audit"
    assert spans.open == []


async def test_the_subject_of_an_event_is_in_no_span(nats_server: NatsServer) -> None:
    """Its tokens are values of the payload."""
    with record_spans() as spans:
        async with AuditService.connect(nats_server.url) as service:
            await service.moved.publish(Moved(order_id="1", region="secret"))

    assert "secret" not in spans.one("publish Orders.Moved").to_json()


async def test_an_event_without_a_trace_begins_one(nats_server: NatsServer) -> None:
    handled = asyncio.Event()
    seen: list[set[str]] = []

    async def note(event: DeliveredEvent[Shipped]) -> None:
        inherited = current_context()
        assert inherited is not None
        seen.append({event.context.trace_id, inherited.trace_id})
        handled.set()

    with record_spans() as spans:
        async with (
            AuditService.connect(nats_server.url) as service,
            OrdersClient.connect(nats_server.url) as client,
        ):
            service.audit.shipped.handle(note)
            service.audit.moved.handle(ignore)
            await service.start()
            async with client.shipped.subscribe() as events:
                connection = service.runtime.connection
                await publish_acked(connection, "events.v1.Orders.Shipped", b'{"orderId":"1"}')
                received = await asyncio.wait_for(anext(events), 10)
            await handled.wait()

    attempt, read = spans.one("process Orders.Shipped"), spans.one("receive Orders.Shipped")
    assert [(span.parent, span.links) for span in (attempt, read)] == [(None, ())] * 2
    assert seen == [{trace_of(attempt)}]
    assert received.context.trace_id == trace_of(read)


async def test_a_reader_in_a_span_of_its_own_links_to_the_publisher(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with (
            AuditService.connect(nats_server.url) as service,
            OrdersClient.connect(nats_server.url) as client,
            client.shipped.subscribe() as events,
        ):
            await service.shipped.publish(Shipped(order_id="1"))
            with spans.provider.get_tracer("a program").start_as_current_span("read"):
                received = await asyncio.wait_for(anext(events), 10)

    read, published = spans.one("receive Orders.Shipped"), spans.one("publish Orders.Shipped")
    assert is_child(read, spans.one("read"))
    assert links_of(read) == {"creation": id_of(published)}
    assert received.context.trace_id == trace_of(published)
    assert (published.kind, read.kind) == (SpanKind.PRODUCER, SpanKind.CLIENT)


async def test_an_attempt_that_a_stop_ends_is_released(nats_server: NatsServer) -> None:
    began = asyncio.Event()

    async def hang(event: DeliveredEvent[Shipped]) -> None:
        began.set()
        await asyncio.sleep(60)

    with record_spans() as spans:
        async with AuditService.connect(nats_server.url) as service:
            service.audit.shipped.handle(hang)
            service.audit.moved.handle(ignore)
            await service.start()
            await service.shipped.publish(Shipped(order_id="1"))
            await began.wait()
            await service.stop(grace=timedelta(0))

    assert outcome_of(spans.one("process Orders.Shipped")) == (1, "released", None, StatusCode.UNSET)
    assert spans.open == []
