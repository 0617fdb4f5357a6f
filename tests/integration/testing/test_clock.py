"""A clock that a test moves: jobs and events wait for it, and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from orders_participant import (
    NotifyWarehousePayload,
    OrderItem,
    OrderShippedEvent,
    OrdersService,
    ReserveInventoryJob,
    ReserveInventoryPayload,
    ReserveInventoryResult,
)
from trellis_nats import ActiveJob, DeliveredEvent, JobRetry, JobState
from trellis_nats.clock import Clock
from trellis_nats.testing import NatsServer, ServiceUnderTest, TestClock, service_under_test

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

PAYLOAD = ReserveInventoryPayload(order_id="o-1", items=[OrderItem(product_id="p-1", quantity=1)])
NOW = timedelta(0)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

Orders = ServiceUnderTest[OrdersService]


@pytest.fixture
async def orders() -> AsyncIterator[Orders]:
    async with service_under_test(OrdersService) as orders:
        orders.service.consumers.shipped_audit.leave_to_others()
        yield orders


def fail_always(orders: Orders) -> list[int]:
    attempts: list[int] = []

    @orders.service.jobs.reserve_inventory.handle
    async def reserve(job: ReserveInventoryJob) -> ReserveInventoryResult:
        attempts.append(job.tries)
        raise OSError("no shelf")

    return attempts


async def test_a_job_runs_out_of_attempts_at_once(orders: Orders) -> None:
    attempts = fail_always(orders)
    await orders.service.jobs.reserve_inventory.create(PAYLOAD)

    report = await orders.drain()

    job = report.one(orders.service.jobs.reserve_inventory)
    assert (job.state, job.attempts, attempts) == (JobState.DEAD, 5, [1, 2, 3, 4, 5])
    assert job.waits == tuple(timedelta(seconds=wait) for wait in (5, 30, 120, 120))
    assert timedelta(seconds=274) < report.moved < timedelta(seconds=276)
    assert report.states == {"dead": 1}


async def test_the_history_of_a_job_follows_the_clock(orders: Orders) -> None:
    fail_always(orders)
    await orders.service.jobs.reserve_inventory.create(PAYLOAD)

    job = (await orders.drain()).one(orders.service.jobs.reserve_inventory)

    times = [event.at for event in job.events]
    assert times == sorted(times)
    assert times[-1] - times[0] >= timedelta(seconds=275)


async def test_a_drain_moves_the_clock_by_what_is_asked(orders: Orders) -> None:
    attempts = fail_always(orders)
    await orders.service.jobs.reserve_inventory.create(PAYLOAD)

    at_once = await orders.drain(advance=NOW)
    assert (at_once.states, at_once.moved, attempts) == ({"retry": 1}, NOW, [1])

    before_the_third = await orders.drain(advance=timedelta(seconds=30))
    assert before_the_third.states == {"retry": 1}
    assert attempts == [1, 2]
    assert timedelta(seconds=29) < before_the_third.moved <= timedelta(seconds=30)

    third = await orders.drain(advance=timedelta(seconds=5))
    assert (third.states, attempts) == ({"retry": 1}, [1, 2, 3])


async def test_a_delayed_job_waits_for_the_clock(orders: Orders) -> None:
    queue = orders.service.jobs.reserve_inventory

    @queue.handle
    async def reserve(_: ReserveInventoryJob) -> ReserveInventoryResult:
        return ReserveInventoryResult(reserved=True)

    await queue.create(PAYLOAD, delay=HOUR)

    assert (await orders.drain(advance=NOW)).states == {"pending": 1}
    assert (await orders.drain(advance=HOUR - timedelta(minutes=1))).states == {"pending": 1}
    orders.clock.advance(timedelta(minutes=1))
    assert (await orders.drain(advance=NOW)).states == {"completed": 1}


async def test_a_delay_begins_when_the_clock_says(orders: Orders) -> None:
    attempts = fail_always(orders)
    orders.clock.advance(2 * HOUR)
    await orders.service.jobs.reserve_inventory.create(PAYLOAD, delay=HOUR)

    report = await orders.drain(advance=NOW)

    assert (report.states, attempts) == ({"pending": 1}, [])


async def test_jobs_that_wait_hold_up_no_other_job(orders: Orders) -> None:
    queue = orders.service.jobs.reserve_inventory
    attempts = fail_always(orders)
    assert queue.spec.concurrency == 1
    for _ in range(3):
        await queue.create(PAYLOAD, delay=HOUR)
    await orders.drain(advance=NOW)
    await queue.create(PAYLOAD)

    report = await orders.drain(advance=NOW)

    assert (report.states, attempts) == ({"pending": 3, "retry": 1}, [1])


async def test_a_move_does_not_count_for_later_waits(nats_server: NatsServer) -> None:
    """The second wait is judged by the history alone: the process that held the job is gone."""
    clock, attempts = TestClock(), list[int]()

    async def reserve(job: ReserveInventoryJob) -> ReserveInventoryResult:
        attempts.append(job.tries)
        raise JobRetry("the shop is closed", after=HOUR if job.tries == 1 else timedelta(seconds=30))

    async with service_under_test(OrdersService, nats_server.url, clock=clock) as first:
        first.service.consumers.shipped_audit.leave_to_others()
        first.service.jobs.reserve_inventory.handle(reserve)
        await first.service.jobs.reserve_inventory.create(PAYLOAD)
        await first.drain(advance=HOUR)
        assert attempts == [1, 2]

    async with service_under_test(OrdersService, nats_server.url, clock=clock) as second:
        second.service.consumers.shipped_audit.leave_to_others()
        second.service.jobs.reserve_inventory.handle(reserve)

        assert (await second.drain(advance=NOW)).states == {"retry": 1}
        assert attempts == [1, 2]
        await second.drain(advance=timedelta(seconds=30))
        assert attempts == [1, 2, 3]


async def test_the_time_that_work_takes_does_not_shorten_a_move(orders: Orders) -> None:
    """The retry is due an hour after a handler that took 0.3 s: on a loaded machine each takes that long."""
    attempts = list[int]()

    @orders.service.jobs.reserve_inventory.handle
    async def reserve(job: ReserveInventoryJob) -> ReserveInventoryResult:
        attempts.append(job.tries)
        await asyncio.sleep(0.3)
        raise JobRetry("the shop is closed", after=HOUR)

    await orders.service.jobs.reserve_inventory.create(PAYLOAD)

    report = await orders.drain(advance=HOUR)

    assert attempts == [1, 2]
    assert report.moved == HOUR


async def test_a_job_of_years_ahead_is_worked_now(orders: Orders) -> None:
    queue = orders.service.jobs.reserve_inventory

    @queue.handle
    async def reserve(_: ReserveInventoryJob) -> ReserveInventoryResult:
        return ReserveInventoryResult(reserved=True)

    await queue.create(PAYLOAD, delay=timedelta(days=1000))

    report = await orders.drain()

    assert report.states == {"completed": 1}
    assert report.moved > timedelta(days=999)


async def test_a_deadline_passes_with_the_clock(orders: Orders) -> None:
    attempts = fail_always(orders)
    await orders.service.jobs.reserve_inventory.create(PAYLOAD, deadline=timedelta(seconds=20))

    report = await orders.drain()

    job = report.one(orders.service.jobs.reserve_inventory)
    assert (job.state, attempts) == (JobState.EXPIRED, [1, 2])
    assert report.moved < timedelta(seconds=21)


async def test_a_deadline_that_passed_before_the_start_is_seen(orders: Orders) -> None:
    attempts = fail_always(orders)
    await orders.service.jobs.reserve_inventory.create(PAYLOAD, deadline=HOUR)
    orders.clock.advance(2 * HOUR)

    report = await orders.drain()

    assert (report.states, attempts) == ({"expired": 1}, [])


async def test_a_handler_chooses_its_wait(orders: Orders) -> None:
    queue = orders.service.jobs.reserve_inventory

    @queue.handle
    async def reserve(job: ReserveInventoryJob) -> ReserveInventoryResult:
        if job.tries == 1:
            raise JobRetry("the shop is closed", after=timedelta(hours=9))
        return ReserveInventoryResult(reserved=True)

    await queue.create(PAYLOAD)

    job = (await orders.drain()).one(queue)

    assert (job.state, job.waits) == (JobState.COMPLETED, (timedelta(hours=9),))
    assert job.result == ReserveInventoryResult(reserved=True)


async def test_many_jobs_wait_at_the_same_time(orders: Orders) -> None:
    attempts = fail_always(orders)
    await orders.service.jobs.reserve_inventory.create_many([PAYLOAD] * 30)

    report = await orders.drain(timeout=timedelta(seconds=90))  # 150 attempts, on a machine under load

    assert report.states == {"dead": 30}
    assert sorted(attempts) == sorted([1, 2, 3, 4, 5] * 30)


async def test_a_cancelled_job_does_not_hold_up_a_drain(orders: Orders) -> None:
    fail_always(orders)
    ref = await orders.service.jobs.reserve_inventory.create(PAYLOAD)
    await orders.drain(advance=NOW)
    await ref.cancel()

    report = await orders.drain()

    assert (report.states, report.moved) == ({"cancelled": 1}, NOW)


async def test_an_event_is_retried_with_the_clock() -> None:
    attempts: list[int] = []
    async with service_under_test(OrdersService) as orders:

        @orders.service.consumers.shipped_audit.orders_shipped.handle
        async def audit(event: DeliveredEvent[OrderShippedEvent]) -> None:
            attempts.append(event.attempt)
            if event.attempt < 3:
                raise OSError("no audit")
            await orders.service.jobs.notify_warehouse.create(
                NotifyWarehousePayload(order_id="o-1", items=[])
            )

        shipped = OrderShippedEvent(order_id="o-1", customer_id="c-1", shipped_at=datetime.now(UTC))
        await orders.service.events.orders.shipped.publish(shipped)

        report = await orders.drain()

        first, second = orders.service.consumers.shipped_audit.spec.backoff[:2]
        assert attempts == [1, 2, 3]
        assert first + second - SECOND < report.moved < first + second + SECOND
        assert report.states == {"pending": 1}, "the handler created a job of a queue without a handler"


async def test_what_waits_goes_back_to_the_queue_when_the_service_stops(nats_server: NatsServer) -> None:
    async with service_under_test(Shop, nats_server.url) as shop:

        @shop.service.jobs.sort.handle
        async def fail(_: ActiveJob[Parcel, None]) -> None:
            raise OSError("broken")

        ref = await shop.service.jobs.sort.create(Parcel(number=1))
        await shop.drain(advance=NOW)
        began = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - began < 5, "the stop does not wait for the clock"
    async with Shop.connect(nats_server.url) as service:
        snapshot = await service.jobs.sort.ref(ref.id).get()
        assert (snapshot.state, snapshot.tries) == (JobState.RETRY, 1)


async def test_two_services_share_a_clock(nats_server: NatsServer) -> None:
    clock = TestClock()
    async with (
        service_under_test(Shop, nats_server.url, clock=clock) as shop,
        service_under_test(OrdersService, nats_server.url, clock=clock) as orders,
    ):
        orders.service.consumers.shipped_audit.leave_to_others()
        fail_always(orders)

        @shop.service.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        await shop.service.jobs.pack.create(Parcel(number=1), delay=timedelta(seconds=40))
        await orders.service.jobs.reserve_inventory.create(PAYLOAD)
        await shop.start()

        assert (await orders.drain()).states == {"dead": 1}
        assert (await shop.drain(advance=NOW)).states == {"completed": 1}


def instant_apart() -> datetime:
    """Return an instant that equals neither one before the call nor one after it."""
    instant = datetime.now(UTC) + timedelta(microseconds=1)
    while datetime.now(UTC) <= instant:
        pass
    return instant


def test_instants_that_have_passed_keep_their_time() -> None:
    clock, before = TestClock(), instant_apart()

    clock.advance(HOUR)
    between = instant_apart()
    clock.advance(HOUR)
    after = instant_apart()

    assert [clock.at(instant) - instant for instant in (before, between, after)] == [NOW, HOUR, 2 * HOUR]
    assert clock.ahead == 2 * HOUR
    assert abs(clock.now() - (datetime.now(UTC) + 2 * HOUR)) < SECOND


def test_the_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back"):
        TestClock().advance(-SECOND)


@pytest.mark.parametrize("clock", [Clock(), TestClock()])
async def test_a_wait_ends_in_real_time_too(clock: Clock) -> None:
    await asyncio.wait_for(clock.wait(asyncio.Event(), timedelta(milliseconds=20), what="job"), timeout=10)


@pytest.mark.parametrize("clock", [Clock(), TestClock()])
async def test_a_wait_ends_with_the_stop(clock: Clock) -> None:
    stopping = asyncio.Event()
    waiting = asyncio.create_task(clock.wait(stopping, HOUR, what="job"))
    stopping.set()

    await asyncio.wait_for(waiting, timeout=10)


async def test_a_move_that_is_too_short_ends_no_wait() -> None:
    clock = TestClock()
    waiting = asyncio.create_task(clock.wait(asyncio.Event(), HOUR, what="job"))
    await asyncio.sleep(0)
    clock.advance(HOUR / 2)
    await asyncio.sleep(0)
    assert list(clock.waiting) == ["job"]

    clock.advance(HOUR / 2)

    await asyncio.wait_for(waiting, timeout=10)
    assert clock.waiting == {}
