"""The spans of operations: their calls on both sides, and each attempt to run one."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from trellis_nats import Deferred, OperationNotFound, RpcError
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.orders import NotFoundError
from tests.support.processing import (
    Process,
    ProcessClient,
    ProcessInput,
    ProcessOperation,
    ProcessOutput,
    ProcessService,
    running,
)
from tests.support.spans import Spans, attributes_of, id_of, is_child, links_of, record_spans, trace_of

NAME = "Proc.Process"
CLIENT, SERVER, CONSUMER = SpanKind.CLIENT, SpanKind.SERVER, SpanKind.CONSUMER
REQUEST = ProcessInput(order_id="secret-order")
DONE = ProcessOutput(order_id="o1", status="secret-status")


def said(span: ReadableSpan) -> tuple[object, object, bool]:
    """Return the outcome, the type of the error, and whether the span has failed."""
    attributes = attributes_of(span)
    is_failed = span.status.status_code is StatusCode.ERROR
    return attributes.get("trellis.outcome"), attributes.get("error.type"), is_failed


async def ended(spans: Spans, name: str, count: int = 1) -> list[ReadableSpan]:
    """Wait until so many spans of a name have ended."""
    await eventually(lambda: len(spans.named(name)) == count)
    return spans.named(name)


async def test_an_attempt_belongs_to_the_call_that_started_the_operation(nats_server: NatsServer) -> None:
    seen: list[str] = []

    with record_spans() as spans:
        async with (
            ProcessService.connect(nats_server.url) as service,
            ProcessClient.connect(nats_server.url) as client,
        ):

            @service.process.handle
            async def process(operation: ProcessOperation) -> ProcessOutput:
                seen.append(operation.context.traceparent)
                inner = await client.fixed.start(REQUEST)
                return await inner.result()

            @service.fixed.handle
            async def fixed(operation: object) -> ProcessOutput:
                del operation
                return DONE

            await service.start()
            run = await client.process.start(REQUEST)
            assert await run.result() == DONE

        call, served = spans.one(NAME, CLIENT), spans.one(NAME, SERVER)
        attempt = spans.one(f"process {NAME}", CONSUMER)
        watch, watched = spans.one(f"watch {NAME}", CLIENT), spans.one(f"watch {NAME}", SERVER)

    assert is_child(served, call)
    assert is_child(attempt, served)
    assert links_of(attempt) == {"creation": id_of(served)}
    assert seen[0].split("-")[1:3] == [trace_of(attempt), f"{id_of(attempt):016x}"]
    assert is_child(spans.one("Proc.Fixed", CLIENT), attempt)
    assert is_child(spans.one("watch Proc.Fixed", CLIENT), attempt)
    assert is_child(watched, watch)
    assert said(attempt) == ("completed", None, False)
    attributes = attributes_of(attempt)
    assert attributes["messaging.message.id"] == run.id
    assert (attributes["trellis.surface"], attributes["trellis.attempt"]) == ("operation", 1)
    assert attributes_of(watched)["trellis.action"] == "watch"
    assert spans.open == []
    assert "secret" not in "".join(span.to_json() for span in spans.finished)


async def test_a_declared_error_is_an_answer_and_any_other_exception_a_failure(
    nats_server: NatsServer,
) -> None:
    errors = [NotFoundError("secret", resource="order", resource_id="secret"), RuntimeError("secret")]
    ids: list[str] = []
    with record_spans() as spans, LogSignals() as signals:
        async with running(nats_server.url) as (_, process, client):
            for error in errors:
                run = await client.process.start(REQUEST)
                ids.append(run.id)
                process.put(run.id, error)
                with pytest.raises(RpcError):
                    await run.result()
        declared, unexpected = spans.named(f"process {NAME}")
        (record,) = signals.of(LogEvent.HANDLER_RAISED)

    assert said(declared) == ("failed", None, False)
    assert attributes_of(declared)["rpc.response.status_code"] == "NotFoundError"
    assert said(unexpected) == ("failed", "RuntimeError", True)
    assert [event.name for event in unexpected.events] == ["exception"]
    fields = vars(record)
    assert (fields["operation"], fields["operation_id"]) == (NAME, ids[1])
    assert fields["trace_id"] == trace_of(unexpected)


async def test_an_attempt_links_to_the_one_of_the_process_that_ended(nats_server: NatsServer) -> None:
    dying, process = Process(), Process()
    with record_spans() as spans:
        async with (
            ProcessService.connect(nats_server.url) as first,
            ProcessService.connect(nats_server.url) as second,
            ProcessClient.connect(nats_server.url) as client,
        ):
            first.process.handle(resume="run-again")(dying.handle)
            await first.start()
            run = await client.process.start(REQUEST)
            await eventually(lambda: run.id in dying.operations)
            second.process.handle(resume="run-again")(process.handle)
            await second.start()
            await first.stop(grace=timedelta(0))
            process.put(run.id, DONE)
            await run.result()
        earlier, later = spans.named(f"process {NAME}")
        started = spans.one(NAME, SERVER)

    assert [said(span) for span in (earlier, later)] == [
        ("released", None, False),
        ("completed", None, False),
    ]
    assert all(is_child(span, started) for span in (earlier, later))
    assert links_of(later) == {"creation": id_of(started), "previous_attempt": id_of(earlier)}
    assert attributes_of(later)["trellis.attempt"] == 2


async def test_an_operation_that_is_cancelled_or_left_open_has_not_failed(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with (
            ProcessService.connect(nats_server.url) as service,
            ProcessClient.connect(nats_server.url) as client,
        ):

            @service.process.handle
            async def process(operation: ProcessOperation) -> ProcessOutput | Deferred:
                if operation.input.mode == "defer":
                    return await operation.defer()
                await operation.cancelled.wait()
                return DONE

            await service.start()
            await client.process.start(ProcessInput(order_id="o1", mode="defer"))
            (deferred,) = await ended(spans, f"process {NAME}")
            run = await client.process.start(REQUEST)
            await run.cancel()
            *_, cancelled = await ended(spans, f"process {NAME}", 2)

    assert said(deferred) == ("deferred", None, False)
    assert said(cancelled) == ("cancelled", None, False)
    assert is_child(spans.one(f"cancel {NAME}", SERVER), spans.one(f"cancel {NAME}", CLIENT))


async def test_a_watch_that_is_left_has_not_failed_and_a_refused_request_has(
    nats_server: NatsServer,
) -> None:
    with record_spans() as spans:
        async with running(nats_server.url) as (service, process, client):
            run = await client.process.start(REQUEST)
            async with aclosing(run.watch()) as updates:
                await anext(updates)
            with pytest.raises(OperationNotFound):
                await client.process.ref("01ARZ3NDEKTSV4RRFFQ69G5FAV").get()
            process.put(run.id, DONE)
            await asyncio.wait_for(run.result(), 30)
            await service.stop(grace=timedelta(0))

    watches = [span for span in spans.finished if span.name == f"watch {NAME}"]
    assert [said(span) for span in watches] == [(None, None, False)] * 4
    refused, served = spans.one(f"get {NAME}", CLIENT), spans.one(f"get {NAME}", SERVER)
    assert said(refused) == (None, "trellis_nats.OperationNotFound", True)
    assert said(served) == (None, None, False)
    assert attributes_of(refused)["rpc.response.status_code"] == "OperationNotFound"
    assert spans.open == []
