"""The spans of jobs: their creation, each attempt, and how it ended."""

import asyncio
import json
import threading
from datetime import timedelta

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, get_tracer
from trellis_nats import JobCancelled, JobFailed, JobNotEnqueued, JobState
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.ferry import Cargo, Ferry
from tests.support.inspection import inspect_queue
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.spans import attributes_of, id_of, is_child, links_of, record_spans, trace_of

SOON = timedelta(seconds=10)
ANNA = Cargo(ship="anna")


def outcome_of(span: ReadableSpan) -> tuple[object, object, StatusCode]:
    attributes = attributes_of(span)
    return attributes.get("trellis.outcome"), attributes.get("error.type"), span.status.status_code


async def test_a_retry_links_to_the_attempt_before_it(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                if job.tries < 3:
                    raise ConnectionError("secret-host")
                return Receipt(total=1)

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await ref.result(timeout=SOON)

    created = spans.one("create pack")
    first, second, third = spans.named("process pack")
    maker = id_of(created)
    assert [links_of(attempt) for attempt in (first, second, third)] == [
        {"creation": maker},
        {"creation": maker, "previous_attempt": id_of(first)},
        {"creation": maker, "previous_attempt": id_of(second)},
    ]
    assert all(is_child(attempt, created) for attempt in (first, second, third))
    assert [outcome_of(attempt) for attempt in (first, second, third)] == [
        ("retry", "ConnectionError", StatusCode.ERROR),
        ("retry", "ConnectionError", StatusCode.ERROR),
        ("completed", None, StatusCode.UNSET),
    ]
    numbered = [attributes_of(attempt) for attempt in (first, second, third)]
    assert [attributes["trellis.attempt"] for attributes in numbered] == [1, 2, 3]
    assert {attributes["messaging.message.id"] for attributes in numbered} == {ref.id}
    assert {attributes["trellis.max_attempts"] for attributes in numbered} == {3}


async def test_an_exception_is_recorded_without_its_text(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                raise ConnectionError("secret-host")

            with LogSignals() as signals:
                await shop.jobs.start_workers()
                ref = await shop.jobs.pack.create(Parcel(number=1, note="secret-note"))
                ended = await ref.wait(timeout=SOON)
                await signals.wait_for(LogEvent.JOB_FAILED)

    assert ended.state is JobState.DEAD
    *_, last = spans.named("process pack")
    (event,) = last.events
    details = event.attributes or {}
    assert outcome_of(last) == ("dead", "ConnectionError", StatusCode.ERROR)
    assert (event.name, details["exception.type"]) == ("exception", "ConnectionError")
    assert "in pack" in str(details["exception.stacktrace"])
    written = "".join(span.to_json() for span in spans.finished).replace('ConnectionError(\\"secret-host', "")
    assert "secret" not in written, "but in the line of code that raises"
    assert spans.open == []
    events = {LogEvent.HANDLER_RAISED, LogEvent.JOB_RETRIED, LogEvent.JOB_FAILED}
    for logged in events:
        assert {vars(record)["trace_id"] for record in signals.of(logged)} == {trace_of(last)}


async def test_a_job_that_fails_at_once_or_withdraws_itself(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                raise JobFailed("card declined") if job.payload.number == 1 else JobCancelled

            await shop.jobs.start_workers()
            failing = await shop.jobs.pack.create(Parcel(number=1))
            await failing.wait(timeout=SOON)
            cancelled = await shop.jobs.pack.create(Parcel(number=2))
            await cancelled.wait(timeout=SOON)

    assert [outcome_of(attempt) for attempt in spans.named("process pack")] == [
        ("failed", "failed", StatusCode.ERROR),
        ("cancelled", None, StatusCode.UNSET),
    ]
    assert [attempt.events for attempt in spans.named("process pack")] == [(), ()]


async def test_a_payload_of_another_schema_fails_in_its_span(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with Shop.connect(nats_server.url) as shop:
            ref = await shop.jobs.pack.create(Parcel(number=1))
            stored = await inspect_queue(shop.jobs.pack).event_log.newest(ref.id)
            assert stored is not None
            body = json.loads(stored.event.encode()) | {"jobId": "OTHER", "payload": {"number": "secret"}}
            body["context"] |= {"traceparent": "of another runtime"}
            await publish_acked(
                shop.jobs.runtime.connection,
                "trellis.jobs.shop.pack.OTHER.created",
                json.dumps(body).encode(),
            )

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                return Receipt(total=1)

            with LogSignals() as signals:
                await shop.jobs.start_workers()
                await signals.wait_for(LogEvent.JOB_FAILED, job_id="OTHER")

    failed = [span for span in spans.named("process pack") if outcome_of(span)[0] == "failed"]
    assert [(span.parent, span.links) for span in failed] == [(None, ())], "its trace is not one"


async def test_a_handler_in_a_thread_sees_its_span(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            def pack(job: ParcelJob) -> Receipt:
                assert threading.current_thread() is not threading.main_thread()
                with get_tracer("a program").start_as_current_span("weigh"):
                    shop.blocking.run(shop.jobs.sort.create(Parcel(number=2)))
                return Receipt(total=1)

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await ref.result(timeout=SOON)

    assert is_child(spans.one("weigh"), spans.one("process pack"))
    assert is_child(spans.one("create sort"), spans.one("weigh"))


async def test_a_handler_cannot_leave_its_trace_by_a_span_of_another(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                with get_tracer("a program").start_as_current_span("statistics", context=Context()):
                    await shop.jobs.sort.create(Parcel(number=2))
                return Receipt(total=1)

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await ref.result(timeout=SOON)

    assert is_child(spans.one("create sort"), spans.one("process pack"))


async def test_many_jobs_are_created_in_one_span(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                return Receipt(total=1)

            refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(3)])
            await shop.jobs.start_workers()
            contexts = [(await ref.wait(timeout=SOON)).context for ref in refs]

    created = spans.one("create pack")
    assert attributes_of(created)["messaging.batch.message_count"] == 3
    assert all(is_child(attempt, created) for attempt in spans.named("process pack"))
    assert len({context.request_id for context in contexts}) == 3


async def test_submissions_to_a_full_key_say_how_they_were_answered(nats_server: NatsServer) -> None:
    with record_spans() as spans:
        async with Ferry.connect(nats_server.url) as ferry:
            for queue in (ferry.jobs.strict, ferry.jobs.strict, *[ferry.jobs.latest] * 3):
                await queue.submit(ANNA)
            with pytest.raises(JobNotEnqueued):
                await ferry.jobs.strict.create(ANNA)

    assert [outcome_of(span) for span in spans.named("create strict")] == [
        ("accepted", None, StatusCode.UNSET),
        ("rejected", None, StatusCode.UNSET),
        (None, "trellis_nats.JobNotEnqueued", StatusCode.ERROR),
    ]
    assert [outcome_of(span)[0] for span in spans.named("create latest")] == [
        "accepted",
        "accepted",
        "replaced",
    ]
    assert "anna" not in "".join(span.to_json() for span in spans.finished)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_no_span_is_left_open_by_a_stop_or_a_cancellation(
    nats_server: NatsServer, *, is_cancelled: bool
) -> None:
    began, give_up = asyncio.Event(), asyncio.Event()
    with record_spans() as spans:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                began.set()
                await give_up.wait()
                return Receipt(total=1)

            workers = await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await began.wait()
            if is_cancelled:
                with LogSignals() as signals:
                    await ref.cancel()
                    give_up.set()
                    await signals.wait_for(LogEvent.JOB_CANCELLED, job_id=ref.id)
            else:
                await workers.stop(grace=timedelta(0))

    expected = "cancelled" if is_cancelled else "released"
    assert outcome_of(spans.one("process pack")) == (expected, None, StatusCode.UNSET)
    assert spans.open == []


async def test_a_span_of_the_start_of_the_program_is_not_a_parent(nats_server: NatsServer) -> None:
    """The tasks of the connection inherit the span in which the program connected."""
    with record_spans() as spans:
        tracer = spans.provider.get_tracer("a program")
        async with Shop.connect(nats_server.url) as producer:
            with tracer.start_as_current_span("start up"):
                async with Shop.connect(nats_server.url) as shop:

                    @shop.jobs.pack.handle
                    async def pack(job: ParcelJob) -> Receipt:
                        await shop.jobs.sort.create(Parcel(number=2))
                        return Receipt(total=1)

                    await shop.jobs.start_workers()
                    with tracer.start_as_current_span("checkout", context=Context()):
                        ref = await producer.jobs.pack.create(Parcel(number=1))
                    await ref.result(timeout=SOON)

    traces = {name: trace_of(spans.one(name)) for name in ("start up", "checkout", "create sort")}
    assert traces["create sort"] == traces["checkout"] != traces["start up"]
