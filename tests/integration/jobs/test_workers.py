"""Workers: the number of handlers at a time, malformed messages, and when handlers can be registered."""

import asyncio
import json
import math
from datetime import timedelta

import pytest
from opentelemetry.sdk.trace import TracerProvider
from trellis_nats import (
    ConfigurationError,
    HandlerConflict,
    JobFailed,
    JobState,
)
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.inspection import inspect_queue
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop, up_to

SOON = timedelta(seconds=10)


async def no_work_is_left(shop: Shop) -> bool:
    info = await get_stream_info(shop.jobs.runtime.connection, "JOBS_WORK")
    assert info is not None
    state = info["state"]
    assert isinstance(state, dict)
    return state["messages"] == 0


async def test_no_more_handlers_run_at_a_time_than_the_contract_allows(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running = most = 0
        three = asyncio.Event()
        go_on = asyncio.Event()

        @shop.jobs.sort.handle
        async def sort(job: object) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == 3:
                three.set()
            await go_on.wait()
            running -= 1

        await shop.jobs.start_workers()
        refs = [await shop.jobs.sort.create(Parcel(number=n)) for n in range(3)]
        await asyncio.wait_for(three.wait(), 10)
        refs += [await shop.jobs.sort.create(Parcel(number=n)) for n in range(5)]
        go_on.set()
        ended = [await ref.wait(timeout=SOON) for ref in refs]

    assert most == 3
    assert {snapshot.state for snapshot in ended} == {JobState.COMPLETED}


@pytest.mark.parametrize(
    "poison",
    [b"", b"not json", b"null", b"[" * 50_000, b'{"jobId":"a.b.c"}', b"\xff\xfe", b'{"eventType":"created"}'],
)
async def test_a_message_that_is_not_a_job_is_removed_and_work_goes_on(
    nats_server: NatsServer, poison: bytes
) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        connection = shop.jobs.runtime.connection
        await publish_acked(connection, "trellis.work.shop.pack", poison)
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        await eventually(lambda: no_work_is_left(shop))


async def test_a_payload_of_another_schema_fails_at_its_first_delivery(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        stored = await inspect_queue(shop.jobs.pack).event_log.newest(ref.id)
        assert stored is not None
        body = json.loads(stored.event.encode()) | {"jobId": "OTHER", "payload": {"number": "seven"}}
        await publish_acked(
            shop.jobs.runtime.connection, "trellis.jobs.shop.pack.OTHER.created", json.dumps(body).encode()
        )
        worked: list[str] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            worked.append(job.id)
            return Receipt(total=1)

        await shop.jobs.start_workers()
        await ref.result(timeout=SOON)
        failed = await eventually(
            lambda: inspect_queue(shop.jobs.pack).event_log.newest_of("OTHER", "failed")
        )

    assert worked == [ref.id]
    assert failed is not None
    assert failed.event.tries == 1
    assert failed.event.error is not None
    assert "#/number" in failed.event.error
    assert "seven" not in failed.event.error, "the value may be secret"


async def test_a_redelivered_finished_job_does_not_run_again(nats_server: NatsServer) -> None:
    """Servers before 2.15 deliver acknowledged work once more after a restart."""
    async with Shop.connect(nats_server.url) as shop:
        runs: list[str] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.id)
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        created = await inspect_queue(shop.jobs.pack).event_log.newest(ref.id)
        await ref.result(timeout=SOON)
        assert created is not None
        await publish_acked(shop.jobs.runtime.connection, "trellis.work.shop.pack", created.event.encode())
        await eventually(lambda: no_work_is_left(shop))

    assert runs == [ref.id]


async def test_a_second_handler_is_refused_at_once(nats_server: NatsServer) -> None:
    async def pack(job: ParcelJob) -> Receipt:
        return Receipt(total=1)

    async with Shop.connect(nats_server.url) as shop:
        assert shop.jobs.pack.handle(pack) is pack

        with pytest.raises(HandlerConflict, match='queue "pack" already has a handler'):
            shop.jobs.pack.handle(pack)
        await shop.jobs.start_workers()
        with pytest.raises(HandlerConflict, match="before the workers start"):
            shop.jobs.sort.handle(lambda _: asyncio.sleep(0))
        with pytest.raises(ConfigurationError, match="run already"):
            await shop.jobs.start_workers()


async def test_a_queue_that_is_left_to_others_has_no_handler(nats_server: NatsServer) -> None:
    async def pack(job: ParcelJob) -> Receipt:
        return Receipt(total=1)

    async with Shop.connect(nats_server.url) as shop:
        shop.jobs.pack.handle(pack)

        with pytest.raises(HandlerConflict, match='queue "pack" cannot be left to others: it has a handler'):
            shop.jobs.pack.leave_to_others()
        shop.jobs.sort.leave_to_others()
        with pytest.raises(HandlerConflict, match='queue "sort": this process leaves the queue to others'):
            shop.jobs.sort.handle(lambda _: asyncio.sleep(0))
        await shop.jobs.start_workers()
        with pytest.raises(HandlerConflict, match="cannot be left to others: the workers have started"):
            shop.jobs.charge.leave_to_others()


async def test_starting_without_a_handler_says_so(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        with pytest.raises(ConfigurationError, match="no queue has a handler"):
            await shop.jobs.start_workers()


async def test_a_job_created_by_a_handler_inherits_its_context_and_knows_its_parent(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        children: list[str] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            children.append((await shop.jobs.sort.create(Parcel(number=2))).id)
            return Receipt(total=1)

        await shop.jobs.start_workers()
        parent = await shop.jobs.pack.create(Parcel(number=1))
        await parent.result(timeout=SOON)
        child = await inspect_queue(shop.jobs.sort).event_log.newest(children[0])

        assert child is not None
        assert child.event.job_context() == (await parent.get()).context
        assert child.event.trigger == {"kind": "parentJob", "parentJobId": parent.id}
        assert child.event.lineage == {"parentJobId": parent.id, "rootJobId": parent.id}


async def test_a_job_joins_the_callers_trace(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        with TracerProvider().get_tracer("test").start_as_current_span("checkout") as span:
            ref = await shop.jobs.pack.create(Parcel(number=1))
        context = (await ref.get()).context
        stored = await inspect_queue(shop.jobs.pack).event_log.newest(ref.id)

    assert context.trace_id == f"{span.get_span_context().trace_id:032x}"
    assert context.traceparent.startswith(f"00-{context.trace_id}-")
    assert stored is not None


async def test_progress_and_log_lines_are_stored_and_seen(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await job.progress(step="packing", message="half way", current=1, total=2)
            await job.log("the box is too small", level="warn")
            await job.heartbeat()
            return Receipt(total=1)

        async with shop.jobs.follow() as events:
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await shop.jobs.start_workers()
            seen = {event.event: event async for event in up_to("completed", events)}
        progress = (await ref.get()).progress

    assert progress is not None
    assert (progress.step, progress.message, progress.current, progress.total) == (
        "packing",
        "half way",
        1,
        2,
    )
    assert seen["progress"].progress == progress
    assert [(line.level, line.message) for line in seen["logged"].logs] == [("warn", "the box is too small")]


async def test_a_report_never_fails_its_job(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    hardly = [math.inf, -math.inf, math.nan, -1, 0.5, 2**53]

    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            for number in hardly:
                await job.progress(step=f"{number}", current=number, total=2)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - that is the point
            return Receipt(total=1)

        ref = await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.start_workers()
        await ref.result(timeout=SOON)
        progress = (await ref.get()).progress

    assert progress is not None
    assert (progress.step, progress.current, progress.total) == (str(2**53), None, 2)
    for number in hardly:
        assert f"progress without current={number!r}" in caplog.text


async def test_a_failed_job_may_be_looked_up_by_its_id_alone(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            raise JobFailed("no box")

        await shop.jobs.start_workers()
        job_id = (await shop.jobs.pack.create(Parcel(number=1))).id

        with pytest.raises(JobFailed, match="no box"):
            await shop.jobs.pack.ref(job_id).result(timeout=SOON)
        with pytest.raises(ConfigurationError, match="job id"):
            shop.jobs.pack.ref("a.b")
