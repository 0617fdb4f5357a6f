"""What a worker logs about jobs that did not simply complete: events with fields, each at its level."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

import pytest
from orders_participant import GetOrderRequest, GetOrderResponse, OrdersService
from trellis_nats import JobFailed, JobRetry, JobState, Options, RpcContext
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=10)
TRACEBACK_BYTES_MAX: Final = 8 * 1024
WORKING: Final = "trellis_nats.jobs.work"


def logged(signals: LogSignals, level: int = logging.INFO) -> list[tuple[str, str, int | None]]:
    """Return what was logged about working jobs, from a level on: level, event, attempt."""
    return [
        (record.levelname, vars(record)["event_name"], vars(record).get("attempt"))
        for record in signals.records
        if record.levelno >= level and record.name.startswith(WORKING)
    ]


async def test_each_attempt_that_raised_and_the_last_one_of_a_dead_job(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url, options=Options(jitter=0)) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                raise RuntimeError("no tape")

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await ref.wait(timeout=SOON)
            dead = await signals.wait_for(LogEvent.JOB_FAILED, queue="pack", job_id=ref.id, attempt=3)

    assert logged(signals) == [
        ("WARNING", LogEvent.HANDLER_RAISED, 1),
        ("INFO", LogEvent.JOB_RETRIED, 1),
        ("WARNING", LogEvent.HANDLER_RAISED, 2),
        ("INFO", LogEvent.JOB_RETRIED, 2),
        ("WARNING", LogEvent.HANDLER_RAISED, 3),
        ("WARNING", LogEvent.JOB_FAILED, 3),
    ]
    assert dead.getMessage() == f"job {ref.id} of queue pack is dead: RuntimeError: no tape"
    retried = signals.of(LogEvent.JOB_RETRIED, attempt=2)[0].getMessage()
    assert retried == f"job {ref.id} of queue pack runs again in 50 ms: attempt 2 of 3 failed"
    raised = signals.of(LogEvent.HANDLER_RAISED, job_id=ref.id, attempt=1)[0]
    assert raised.exc_info is not None
    assert isinstance(raised.exc_info[1], RuntimeError)


async def test_an_attempt_that_asked_for_another_one_is_not_a_warning(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                if job.tries == 1:
                    raise JobRetry("not yet", after=timedelta(0))
                return Receipt(total=1)

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await ref.result(timeout=SOON)

    assert logged(signals) == [("INFO", LogEvent.JOB_RETRIED, 1)]


async def test_a_queue_without_a_handler_next_to_others_is_a_warning(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                return Receipt(total=1)

            shop.jobs.charge.leave_to_others()
            shop.jobs.weigh.leave_to_others()
            await shop.start()

    (record,) = signals.of(LogEvent.QUEUE_NOT_WORKED)
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "queues without a handler in this process: sort, ship; it works others, so register their handlers too, or state with "
        "service.jobs.sort.leave_to_others() that other processes work them"
    )


async def test_queues_of_a_process_that_only_serves_calls_give_no_warning(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with OrdersService.connect(nats_server.url) as service:
            service.consumers.shipped_audit.leave_to_others()

            @service.rpc.orders.get.handle
            async def get(context: RpcContext, request: GetOrderRequest) -> GetOrderResponse:
                raise NotImplementedError

            await service.start()

    (record,) = signals.of(LogEvent.QUEUE_NOT_WORKED)
    assert record.levelname == "INFO"
    assert record.getMessage() == (
        "queues without a handler in this process: reserve-inventory, charge-payment, notify-warehouse, sync-tickets, "
        "refresh-catalog, publish-stock"
    )


async def test_a_process_that_leaves_every_queue_to_others_warns_of_nothing(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:
            for queue in (shop.jobs.pack, shop.jobs.charge, shop.jobs.sort, shop.jobs.weigh, shop.jobs.ship):
                queue.leave_to_others()
            await shop.start()

    assert not signals.of(LogEvent.NOTHING_WORKED)
    assert not signals.of(LogEvent.QUEUE_NOT_WORKED)


@pytest.mark.parametrize("letter", ["x", "é", "\N{SNOWMAN}"])
async def test_a_large_error_is_logged_with_its_beginning_and_its_end(
    nats_server: NatsServer, letter: str
) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                raise LargeError(letter * 100_000 + " the end")

            await shop.jobs.start_workers()
            await shop.jobs.pack.create(Parcel(number=1))
            record = await signals.wait_for(LogEvent.HANDLER_RAISED, queue="pack", attempt=1)

    text = record.getMessage()
    first_line, _, traceback = text.partition("\n")
    assert first_line.endswith(" of queue pack, attempt 1 of 3: the handler raised")
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert "in pack\n" in traceback
    assert traceback.endswith(letter * 1000 + " the end\n")
    assert TRACEBACK_BYTES_MAX - 8 <= len(traceback.encode()) <= TRACEBACK_BYTES_MAX
    assert record.exc_info is None


class LargeError(Exception):
    """An error of the handler's own."""


async def test_the_text_of_a_large_failure_is_cut(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                raise JobFailed("x" * 100_000)

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            record = await signals.wait_for(LogEvent.JOB_FAILED, job_id=ref.id)

    assert 8_000 < len(record.getMessage()) < 8_400


async def test_a_job_that_failed(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                raise JobFailed("no such address")

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await ref.wait(timeout=SOON)
            failed = await signals.wait_for(LogEvent.JOB_FAILED, queue="pack", job_id=ref.id)

    assert logged(signals) == [("WARNING", LogEvent.JOB_FAILED, 1)]
    assert failed.getMessage() == f"job {ref.id} of queue pack is failed: no such address"


async def test_a_job_that_was_cancelled_while_it_ran(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:
            running = asyncio.Event()

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                running.set()
                await job.cancelled.wait()
                return Receipt(total=1)

            host = await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await running.wait()
            await ref.cancel()
            await host.stop(grace=SOON)

    assert logged(signals) == [("INFO", LogEvent.JOB_CANCELLED, 1)]


async def test_a_job_that_a_stopping_worker_released(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:
            running = asyncio.Event()

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                running.set()
                await asyncio.Event().wait()
                return Receipt(total=1)

            host = await shop.jobs.start_workers()
            await shop.jobs.pack.create(Parcel(number=1))
            await running.wait()
            await host.stop(grace=timedelta(0))

    assert logged(signals) == [("INFO", LogEvent.JOB_RELEASED, 1)]


async def test_a_job_that_completed_needs_no_line(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                return Receipt(total=1)

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await ref.result(timeout=SOON)

    assert logged(signals) == []


async def test_a_service_without_any_handler_says_once_that_it_works_nothing(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:
            await shop.start()

    (record,) = signals.of(LogEvent.NOTHING_WORKED)
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "shop@v1 has no handler in this process, which works no job: register handlers before the start, as in "
        "@service.jobs.pack.handle"
    )
    assert not signals.of(LogEvent.QUEUE_NOT_WORKED)


async def test_a_queue_says_once_that_it_is_consumed_and_that_it_has_stopped(nats_server: NatsServer) -> None:
    """It has a second consumer, of jobs that waited, and a reader of a job's events has one, too."""
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                return Receipt(total=1)

            await shop.start()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            assert [event.state async for event in ref.events()][-1] is JobState.COMPLETED

    for event in (LogEvent.CONSUMER_READY, LogEvent.CONSUMER_STOPPED):
        assert [record.levelno >= logging.INFO for record in signals.of(event)].count(True) == 1
