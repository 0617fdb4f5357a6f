"""Handlers called without a server, with a job that records what they report."""

from __future__ import annotations

import asyncio
import inspect
import threading
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from trellis_nats import (
    ActiveJob,
    ConfigurationError,
    InvalidPayload,
    JobCancelled,
    JobFailed,
    JobQueue,
    JobSpec,
    Options,
    Runtime,
)
from trellis_nats.context import current_context
from trellis_nats.testing import RecordedJob, active_job, call, unconnected

from tests.support.orders import OrdersService
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop, WeighJob, Weight

WARNING: Any = "warning"
PARCEL = Parcel(number=7)


@pytest.fixture
def shop() -> Shop:
    """A service that is not connected."""
    return unconnected(Shop)


async def test_a_handler_is_called_with_its_payload(shop: Shop) -> None:
    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        assert (job.payload, job.queue, job.tries, job.max_tries) == (PARCEL, "pack", 1, 3)
        assert (job.key, job.lease, job.deadline, job.is_redelivery) == (None, None, None, False)
        return Receipt(total=job.payload.number)

    assert await call(shop.jobs.pack, PARCEL) == Receipt(total=7)


async def test_only_the_handlers_of_queues_are_called_directly() -> None:
    orders = unconnected(OrdersService)

    with pytest.raises(
        ConfigurationError, match=r"expected a job queue, got <RpcEndpoint .*a client of the service"
    ):
        await call(cast("JobQueue[Parcel, Receipt, Weight]", orders.create), PARCEL)


async def test_a_handler_that_needs_the_server_says_what_connects_it(shop: Shop) -> None:
    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        await shop.jobs.pack.create(job.payload)
        return Receipt(total=0)

    with pytest.raises(
        ConfigurationError, match=r"is not connected: .* in a test, `service_under_test` connects it"
    ):
        await call(shop.jobs.pack, PARCEL)


async def test_what_a_handler_raises_comes_out(shop: Shop) -> None:
    error = JobFailed("too heavy")

    @shop.jobs.pack.handle
    async def pack(_: ParcelJob) -> Receipt:
        raise error

    with pytest.raises(JobFailed) as raised:
        await call(shop.jobs.pack, PARCEL)
    assert raised.value is error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"attempt": 0}, "attempt must be at least 1, got 0"),
        ({"deadline": timedelta(hours=1)}, "deadline must be a datetime with a time zone"),
        ({"deadline": datetime(2026, 1, 1)}, "deadline must be a datetime with a time zone"),  # noqa: DTZ001 - on purpose
    ],
)
async def test_a_job_that_no_handler_could_receive_is_refused(
    shop: Shop, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        active_job(shop.jobs.pack, PARCEL, **arguments)


async def test_what_a_handler_reports_is_recorded(shop: Shop) -> None:
    @shop.jobs.weigh.handle
    async def weigh(job: WeighJob) -> Receipt:
        await job.progress(step="weighing", current=1, total=2)
        await job.progress(current=2, total=2)
        await job.log("heavy\x00", level="warn")
        with pytest.raises(ConfigurationError, match='level must be "info"'):
            await job.log("heavy", level=WARNING)
        await job.emit_update(Weight(grams=900))
        await job.heartbeat()
        return Receipt(total=1)

    job = active_job(shop.jobs.weigh, PARCEL)
    await job.run()

    assert [(report.step, report.current, report.total) for report in job.progress_reports] == [
        ("weighing", 1, 2),
        (None, 2, 2),
    ]
    assert [(line.level, line.message) for line in job.log_lines] == [
        ("warn", "heavy\N{REPLACEMENT CHARACTER}")
    ]
    assert job.updates == [Weight(grams=900)]
    assert job.heartbeats == 1


async def test_a_job_goes_to_a_plain_function_too(shop: Shop) -> None:
    async def weigh(job: WeighJob) -> Receipt:
        await job.progress(step="weighing")
        return Receipt(total=job.tries)

    job = active_job(shop.jobs.weigh, PARCEL, attempt=3)

    assert await weigh(job) == Receipt(total=3)
    assert (job.is_redelivery, job.redelivery_count) == (True, 2)
    assert [report.step for report in job.progress_reports] == ["weighing"]
    assert repr(job) == f"<ActiveJob weigh {job.id} attempt 3 of 5>"


async def test_a_thread_reports_too(shop: Shop) -> None:
    def pack(job: ParcelJob) -> Receipt:
        job.blocking.progress(step=threading.current_thread().name.partition(" ")[0])
        job.blocking.log("packed")
        return Receipt(total=1)

    shop.jobs.pack.handle(pack)
    job = active_job(shop.jobs.pack, PARCEL)
    await job.run()

    assert [report.step for report in job.progress_reports] == ["job"]
    assert [line.message for line in job.log_lines] == ["packed"]
    with pytest.raises(ConfigurationError, match="only while `run"):
        _ = active_job(shop.jobs.pack, PARCEL).blocking


async def test_a_job_can_be_cancelled(shop: Shop) -> None:
    began = asyncio.Event()

    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        job.raise_if_cancelled()
        began.set()
        await job.cancelled.wait()
        job.raise_if_cancelled()
        return Receipt(total=1)

    job = active_job(shop.jobs.pack, PARCEL)
    running = asyncio.create_task(job.run())
    await began.wait()
    job.cancel()

    with pytest.raises(JobCancelled):
        await running


async def test_a_keyed_job_has_its_key_and_a_lease(shop: Shop) -> None:
    job = active_job(shop.jobs.ship, PARCEL)

    assert job.key == "7"
    assert job.lease is not None
    assert (job.lease.key, len(job.lease.token)) == ("7", 26)


async def test_payload_result_and_updates_are_checked(shop: Shop) -> None:
    @shop.jobs.pack.handle
    async def pack(_: ParcelJob) -> Receipt:
        return Receipt.model_construct(total="seven")  # pyright: ignore[reportArgumentType]

    with pytest.raises(InvalidPayload, match=r'the result of a job in queue "pack".*total'):
        await call(shop.jobs.pack, PARCEL)
    with pytest.raises(InvalidPayload, match=r'the payload of a job in queue "pack".*number'):
        active_job(shop.jobs.pack, Parcel.model_construct(number=None))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidPayload, match=r'an update of a job in queue "weigh".*grams'):
        await active_job(shop.jobs.weigh, PARCEL).emit_update(Weight.model_construct(grams=None))  # pyright: ignore[reportArgumentType]


async def test_a_result_that_is_not_declared_is_an_error(shop: Shop) -> None:
    async def sort(_: ParcelJob) -> int:
        return 1

    shop.jobs.sort.handle(sort)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]

    with pytest.raises(InvalidPayload, match="declares no `result`"):
        await call(shop.jobs.sort, PARCEL)


async def test_what_the_contract_forbids_cannot_be_reported(shop: Shop) -> None:
    class QuietQueue(JobQueue[Parcel, None]):
        spec = JobSpec(name="quiet", payload=Parcel, progress=False, logs=False)

    job = active_job(QuietQueue(Runtime(Shop.contract, Options())), PARCEL)

    with pytest.raises(ConfigurationError, match="progress: false"):
        await job.progress(step="one")
    with pytest.raises(ConfigurationError, match="logs: false"):
        await job.log("one")
    with pytest.raises(ConfigurationError, match="declares no `update`"):
        await active_job(shop.jobs.pack, PARCEL).emit_update(Weight(grams=1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_the_timeout_of_the_handler_applies(shop: Shop) -> None:
    @shop.jobs.pack.handle(timeout=timedelta(milliseconds=10))
    async def pack(_: ParcelJob) -> Receipt:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TimeoutError, match="longer than its timeout"):
        await call(shop.jobs.pack, PARCEL)


async def test_the_context_of_the_job_does_not_leak(shop: Shop) -> None:
    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        assert current_context() == job.context
        return Receipt(total=1)

    await call(shop.jobs.pack, PARCEL)

    assert current_context() is None


async def test_a_queue_without_a_handler_is_an_error(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match='queue "pack" has no handler'):
        await call(shop.jobs.pack, PARCEL)


def test_a_recorded_job_needs_no_server_for_any_member() -> None:
    """What an active job gets, and its recorded one does not define, must only build on other public members."""
    inherited = {"is_redelivery", "raise_if_cancelled"}
    public = {name for name in vars(ActiveJob) if not name.startswith("_")}

    assert public - set(vars(RecordedJob)) == inherited
    for name in public - inherited:
        mine, theirs = getattr(RecordedJob, name), getattr(ActiveJob, name)
        if not isinstance(theirs, property):
            assert inspect.signature(mine) == inspect.signature(theirs)


async def test_checkpoints_are_given_and_recorded(shop: Shop) -> None:
    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        stored = job.last_checkpoint_as(Receipt) or Receipt(total=0)
        await job.checkpoint(Receipt(total=stored.total + 1))
        await job.checkpoint({"total": stored.total + 2})
        assert job.last_checkpoint == {"total": stored.total + 2}
        with pytest.raises(InvalidPayload, match="65536 are allowed"):
            await job.checkpoint("x" * 70_000)
        return Receipt(total=stored.total)

    job = active_job(shop.jobs.pack, PARCEL, attempt=2, last_checkpoint=Receipt(total=5))

    assert await job.run() == Receipt(total=5)
    assert job.checkpoints == [{"total": 6}, {"total": 7}]
    assert await call(shop.jobs.pack, PARCEL) == Receipt(total=0)
