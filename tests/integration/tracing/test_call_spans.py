"""The spans of RPCs and feeds, on both sides."""

import asyncio
from datetime import timedelta

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from trellis_nats import (
    NoResponders,
    RequestTimeout,
    RpcContext,
    RpcError,
    UnexpectedError,
    ValidationError,
)
from trellis_nats.context import current_context
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.live import CountFrom, LiveClient, Source, running
from tests.support.orders import (
    REQUEST,
    CreateRequest,
    CreateResponse,
    NotFoundError,
    OrdersClient,
    OrdersService,
    greet,
    raw_call,
)
from tests.support.spans import Spans, attributes_of, id_of, is_child, record_spans, trace_of

CLIENT, SERVER = SpanKind.CLIENT, SpanKind.SERVER
OPEN = CountFrom(customer="secret-customer")


def said(span: ReadableSpan) -> tuple[object, object, bool]:
    """Return the type of the error reply, the type of the error, and whether the operation failed."""
    attributes = attributes_of(span)
    is_failed = span.status.status_code is StatusCode.ERROR
    return attributes.get("rpc.response.status_code"), attributes.get("error.type"), is_failed


async def fail(context: RpcContext, request: CreateRequest) -> CreateResponse:
    """Raise what the request names."""
    raise {
        "missing": NotFoundError("secret", resource="order", resource_id="secret"),
        "broken": RuntimeError("secret"),
        "invalid": ValidationError("secret"),
    }[request.customer_id]


async def calls_with(server: NatsServer, *customers: str) -> Spans:
    """Make a call for each customer, and return what was recorded."""
    with record_spans() as spans:
        async with OrdersService.connect(server.url) as service, OrdersClient.connect(server.url) as client:
            service.create.handle(fail)
            await service.start()
            for customer in customers:
                with pytest.raises(RpcError):
                    await client.create(CreateRequest(customer_id=customer, items=[]))
    assert spans.open == []
    return spans


async def test_error_replies_fail_the_call_and_only_failures_the_service(nats_server: NatsServer) -> None:
    spans = await calls_with(nats_server, "missing", "invalid", "broken")

    calls = [span for span in spans.named("Orders.Create") if span.kind is CLIENT]
    served = [span for span in spans.named("Orders.Create") if span.kind is SERVER]
    assert [said(span) for span in calls] == [
        ("NotFoundError", "tests.support.orders.NotFoundError", True),
        ("ValidationError", "trellis_nats.ValidationError", True),
        ("UnexpectedError", "trellis_nats.UnexpectedError", True),
    ]
    assert [said(span) for span in served] == [
        ("NotFoundError", None, False),
        ("ValidationError", None, False),
        ("UnexpectedError", "RuntimeError", True),
    ]
    assert [len(span.events) for span in served] == [0, 0, 1]
    assert [is_child(after, before) for before, after in zip(calls, served, strict=True)] == [True] * 3
    texts = "".join(span.to_json() for span in [*calls, *served])
    assert "secret" not in texts.replace('RuntimeError(\\"secret', "")


async def test_a_call_says_what_it_calls(nats_server: NatsServer) -> None:
    seen: list[str] = []

    async def remember(context: RpcContext, request: CreateRequest) -> CreateResponse:
        inherited = current_context()
        assert inherited is not None
        assert inherited.traceparent == context.traceparent
        seen.extend((context.request_id, context.traceparent))
        return await greet(context, request)

    with record_spans() as spans:
        async with (
            OrdersService.connect(nats_server.url) as service,
            OrdersClient.connect(nats_server.url) as client,
        ):
            service.create.handle(remember)
            await service.start()
            await client.create(REQUEST)

    call, served = spans.one("Orders.Create", CLIENT), spans.one("Orders.Create", SERVER)
    assert attributes_of(call) == {
        "rpc.system.name": "trellis",
        "rpc.method": "Orders.Create",
        "trellis.surface": "rpc",
        "trellis.request_id": seen[0],
    }
    assert served.attributes == call.attributes
    assert seen[1].split("-")[1:3] == [trace_of(served), f"{id_of(served):016x}"]
    assert call.instrumentation_scope is not None
    assert call.instrumentation_scope.name == "trellis_nats"


async def test_a_call_that_no_process_serves_or_answers_in_time(nats_server: NatsServer) -> None:
    cancelled = asyncio.Event()

    async def hang(context: RpcContext, request: CreateRequest) -> CreateResponse:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    short = timedelta(milliseconds=200)
    with record_spans() as spans, LogSignals() as signals:
        async with (
            OrdersService.connect(nats_server.url) as service,
            OrdersClient.connect(nats_server.url) as client,
        ):
            service.create.handle(hang)
            await service.start()
            with pytest.raises(NoResponders):
                await client.peek(REQUEST, timeout=short)
            with pytest.raises(RequestTimeout):
                await client.create(REQUEST, timeout=short)
            await signals.wait_for(LogEvent.CALL_TIMED_OUT)

    assert said(spans.one("Orders.Peek"))[1:] == ("trellis_nats.NoResponders", True)
    assert said(spans.one("Orders.Create", CLIENT))[1:] == (
        "trellis_nats.RequestTimeout",
        True,
    )
    assert said(spans.one("Orders.Create", SERVER)) == (None, "timeout", True)


async def test_a_caller_without_a_trace_gets_a_new_one_that_the_sampler_decides_on(
    nats_server: NatsServer,
) -> None:
    seen: list[tuple[str, str]] = []

    async def remember(context: RpcContext, request: CreateRequest) -> CreateResponse:
        inherited = current_context()
        assert inherited is not None
        seen.append((context.trace_id, inherited.trace_id))
        await service.call_peek(REQUEST)
        return await greet(context, request)

    data = b'{"customerId":"c1","items":[]}'
    with record_spans() as spans:
        async with OrdersService.connect(nats_server.url) as service:
            service.create.handle(remember)
            service.peek.handle(greet)
            await service.start()
            await raw_call(nats_server, data)
    served = spans.one("Orders.Create")
    assert served.parent is None
    assert served.links == ()
    assert seen == [(trace_of(served),) * 2]
    assert is_child(spans.one("Orders.Peek", CLIENT), served)

    with record_spans(ParentBased(ALWAYS_OFF)) as dropped:
        async with OrdersService.connect(nats_server.url) as service_:
            service_.create.handle(greet)
            await service_.start()
            await raw_call(nats_server, data)
    assert dropped.finished == []


async def test_a_feed_has_one_span_on_each_side(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with running(nats_server.url) as (_, source, client), client.count(OPEN) as events:
            for n in range(100):
                source.send(n)
            source.finish()
            assert len([event async for event in events]) == 100

    call, served = spans.one("Live.Count", CLIENT), spans.one("Live.Count", SERVER)
    assert len(spans.finished) == 2
    assert is_child(served, call)
    assert [said(span) for span in (call, served)] == [(None, None, False)] * 2
    assert attributes_of(served)["trellis.surface"] == "feed"
    assert "secret" not in "".join(span.to_json() for span in spans.finished)


async def test_a_feed_that_is_left_or_stopped_ends_its_span_without_a_failure(
    nats_server: NatsServer,
) -> None:
    with record_spans() as spans:
        async with running(nats_server.url) as (_, source, client), client.count(OPEN):
            await eventually(lambda: source.open)

    call, served = spans.one("Live.Count", CLIENT), spans.one("Live.Count", SERVER)
    assert [said(span) for span in (call, served)] == [(None, None, False)] * 2
    assert spans.open == []


async def fail_open_feed(source: Source, client: LiveClient) -> None:
    async with client.count(OPEN) as events:
        source.fail(RuntimeError("secret"))
        await anext(events)


async def test_a_feed_whose_handler_raises_has_failed(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with running(nats_server.url) as (_, source, client):
            with pytest.raises(UnexpectedError):
                await fail_open_feed(source, client)

    call, served = spans.one("Live.Count", CLIENT), spans.one("Live.Count", SERVER)
    assert said(call)[1:] == ("trellis_nats.UnexpectedError", True)
    assert said(served) == ("UnexpectedError", "RuntimeError", True)


async def test_no_span_of_a_call_is_left_open_by_a_stop(nats_server: NatsServer) -> None:
    began = asyncio.Event()

    async def hang(context: RpcContext, request: CreateRequest) -> CreateResponse:
        began.set()
        await asyncio.sleep(60)
        raise AssertionError("unreachable")

    with record_spans() as spans:
        async with OrdersClient.connect(nats_server.url) as client:
            async with OrdersService.connect(nats_server.url) as service:
                service.create.handle(hang)
                await service.start()
                calling = asyncio.create_task(client.create(REQUEST))
                await began.wait()
                await service.stop(grace=timedelta(0))
            with pytest.raises(UnexpectedError):
                await calling

    assert said(spans.one("Orders.Create", SERVER)) == (None, "asyncio.exceptions.CancelledError", True)
    assert spans.open == []
