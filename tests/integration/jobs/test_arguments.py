"""Arguments of the wrong kind: errors that say what is expected, before anything is sent."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from trellis_nats import (
    ConfigurationError,
    Credentials,
    JobFailed,
    JobRetry,
    JobState,
    Maintenance,
    Options,
    Retention,
    TimedeltaExpected,
)
from trellis_nats.testing import NatsServer, service_under_test

from tests.support.orders import REQUEST, NotFoundError, OrdersClient
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SECONDS: Any = 5  # Any: a caller without a type checker
NOTHING: Any = None
SOON = timedelta(seconds=20)
BEFORE = timedelta(seconds=-5)
ZERO = timedelta(0)
SOON_KEPT: Any = SOON
WARNING: Any = "warning"
PARCEL = Parcel(number=1)


async def test_a_number_is_not_a_duration(nats_server: NatsServer) -> None:
    async with (
        Shop.connect(nats_server.url) as shop,
        OrdersClient.connect(nats_server.url) as client,
    ):
        jobs = shop.jobs.pack
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "create delay": lambda: jobs.create(PARCEL, delay=SECONDS),
            "create deadline": lambda: jobs.create(PARCEL, deadline=SECONDS),
            "submit": lambda: jobs.submit(PARCEL, delay=SECONDS),
            "create_many": lambda: jobs.create_many([PARCEL], delay=SECONDS),
            "wait": lambda: jobs.ref("J").wait(timeout=SECONDS),
            "result": lambda: jobs.ref("J").result(timeout=SECONDS),
            "call": lambda: client.create(REQUEST, timeout=SECONDS),
            "stop": lambda: shop.stop(grace=SECONDS),
        }
        for call in calls.values():
            with pytest.raises(
                TimedeltaExpected, match=r"a timedelta is expected, got 5: write timedelta\(seconds=5\)"
            ):
                await call()
        with pytest.raises(TimedeltaExpected, match="timeout"):
            jobs.handle(timeout=SECONDS)(lambda job: Receipt(total=job.tries))
        with pytest.raises(TimedeltaExpected, match="timeout"):
            shop.health.check("mine", lambda: True, timeout=SECONDS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: JobRetry(after=SECONDS),
        lambda: Options(connect_timeout=SECONDS),
        lambda: Options(request_timeout=SECONDS),
        lambda: Options(shutdown_grace=SECONDS),
        lambda: Options(connect_timeout=NOTHING),
        lambda: Options(request_timeout=NOTHING),
        lambda: Options(shutdown_grace=NOTHING),
        lambda: Maintenance(lease=SECONDS),
        lambda: Maintenance(lost_after=SECONDS),
        lambda: Retention(failed=SECONDS),
    ],
)
def test_a_number_is_not_a_duration_in_options(make: Callable[[], object]) -> None:
    with pytest.raises(TimedeltaExpected, match="a timedelta is expected"):
        make()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Options(connect_timeout=BEFORE), "Options.connect_timeout must be positive, got -5 s"),
        (lambda: Options(connect_timeout=ZERO), "Options.connect_timeout must be positive, got 0 s"),
        (lambda: Options(request_timeout=BEFORE), "Options.request_timeout must be positive, got -5 s"),
        (lambda: Options(version_patience=BEFORE), "Options.version_patience must not be negative, got -5 s"),
        (lambda: Options(shutdown_grace=BEFORE), "Options.shutdown_grace must not be negative, got -5 s"),
        (lambda: Maintenance(lost_after=BEFORE), "Maintenance.lost_after must not be negative, got -5 s"),
        (lambda: Maintenance(lease=ZERO), "Maintenance.lease must be positive, got 0 s"),
        (lambda: Retention(failed=BEFORE), "Retention.failed must not be negative, got -5 s"),
    ],
)
def test_a_negative_duration_is_refused_in_options(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make()

    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (999, "write timedelta(seconds=999)"),
        (30_000, "write timedelta(milliseconds=30000) or timedelta(seconds=30000), whichever you mean"),
    ],
)
def test_a_large_number_may_mean_milliseconds(number: int, advice: str) -> None:
    assert (
        str(TimedeltaExpected("timeout", number))
        == f"timeout: a timedelta is expected, got {number}: {advice}"
    )


def test_options_may_be_zero_where_that_has_a_meaning() -> None:
    options = Options(version_patience=ZERO, shutdown_grace=ZERO)

    assert options.shutdown_grace == options.version_patience == timedelta(0)


async def test_what_would_have_no_effect_is_refused(nats_server: NatsServer) -> None:
    async with service_under_test(Shop, nats_server.url) as tested:
        shop = tested.service
        shop.jobs.pack.handle(lambda _: Receipt(total=1))
        host = await shop.jobs.start_workers()
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "grace must not be negative, got -5 s": lambda: shop.stop(grace=BEFORE),
            "grace must not be negative, got -5": lambda: host.stop(grace=BEFORE),
            "limit must be at least 1, got -1": lambda: shop.jobs.purge_ended(limit=-1),
            "retention: a Retention is expected, got a timedelta": lambda: shop.jobs.purge_ended(SOON_KEPT),
            "reason: a text is expected, got 5": lambda: shop.jobs.pack.pause(reason=SECONDS),
            "advance must not be negative, got -5 s": lambda: tested.drain(advance=BEFORE),
            "attempts_max must be at least 1, got 0": lambda: tested.drain(attempts_max=0),
        }
        for text, call in calls.items():
            with pytest.raises(ConfigurationError, match=text):
                await call()


@dataclass
class Login:
    """A function of credentials that, as it can be compared, has no hash."""

    user: str

    def __call__(self) -> Credentials:
        return Credentials(user=self.user, password=self.user)


async def test_credentials_may_come_from_any_callable(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=Options(credentials=Login("ada"))):
        pass


async def test_two_logins_are_refused(nats_server: NatsServer) -> None:
    address = nats_server.url.replace("//", "//ada:s3cret@")
    for credentials in (Credentials(user="bob", password="b"), lambda: Credentials(seed="SU")):  # noqa: S106 - none
        options = Options(credentials=credentials)
        for connection in (
            Shop.connect(address, options=options),
            OrdersClient.connect(address, options=options),
        ):
            with pytest.raises(ConfigurationError, match="the address has a user"):
                async with connection:
                    pass
    async with Shop.connect(address, options=Options(credentials=Credentials())):
        pass


async def test_what_no_calendar_or_text_holds_is_refused(nats_server: NatsServer) -> None:
    west = timezone(timedelta(hours=-1))
    async with Shop.connect(nats_server.url) as shop:
        jobs = shop.jobs.pack
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "years 1 to 9999": lambda: jobs.create(PARCEL, deadline=timedelta.max),
            "in UTC": lambda: jobs.create(PARCEL, deadline=datetime.max.replace(tzinfo=west)),
            "not after": lambda: jobs.create(PARCEL, deadline=datetime.min.replace(tzinfo=UTC)),
            "not valid Unicode": lambda: jobs.create(PARCEL, idempotency_key="\ud800"),
        }
        for text, call in calls.items():
            with pytest.raises(ConfigurationError, match=text):
                await call()


async def test_a_timeout_says_what_did_not_end(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(PARCEL)
        for wait in (ref.wait, ref.result):
            with pytest.raises(TimeoutError, match=f"job {ref.id} of queue pack has not ended within 10 ms"):
                await wait(timeout=timedelta(milliseconds=10))


async def test_a_queue_without_a_result_takes_none(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.sort.handle
        async def sort(job: Any) -> Any:
            return 5 if job.payload.number else None

        await shop.jobs.start_workers()
        good, bad = [await shop.jobs.sort.create(Parcel(number=number)) for number in (0, 1)]

        assert (await good.wait(timeout=SOON)).state is JobState.COMPLETED
        with pytest.raises(
            JobFailed, match=r"declares no `result` in its contract, but .* a value of type int"
        ):
            await bad.result(timeout=SOON)
        assert (await bad.get()).state is JobState.FAILED


NOT_A_TEXT: Any = [5, b"x", ["a"], ValueError("x"), True]


async def test_what_is_not_a_text_is_refused(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        jobs = shop.jobs.pack
        ref = await jobs.create(PARCEL)
        calls: list[Callable[[Any], Awaitable[object]]] = [
            lambda value: jobs.create(PARCEL, idempotency_key=value),
            lambda value: jobs.submit(PARCEL, idempotency_key=value),
            lambda value: jobs.ref(value).get(),
            ref.cancel,
            lambda value: Shop.connect(value).__aenter__(),
        ]
        for call in calls:
            for value in NOT_A_TEXT:
                with pytest.raises(ConfigurationError, match="a text is expected, got"):
                    await call(value)
        assert not (await ref.get()).is_terminal


async def test_a_report_that_is_not_a_text_is_refused(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            calls: list[Callable[[Any], Awaitable[object]]] = [
                job.log,
                lambda value: job.progress(step=value),
                lambda value: job.progress(message=value),
            ]
            for call in calls:
                for value in NOT_A_TEXT:
                    with pytest.raises(ConfigurationError, match="a text is expected, got"):
                        await call(value)
            with pytest.raises(
                ConfigurationError, match='level must be "info", "warn" or "error", got \'warning\''
            ):
                await job.log("heavy", level=WARNING)
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(PARCEL)
        assert (await ref.result(timeout=SOON)).total == 1


@pytest.mark.parametrize("number", [1.5, "3", 0, -1, float("inf")])
async def test_a_concurrency_is_a_whole_number(nats_server: NatsServer, number: Any) -> None:
    async with Shop.connect(nats_server.url) as shop:
        with pytest.raises(ConfigurationError, match="concurrency must be a whole number"):
            shop.jobs.pack.handle(concurrency=number)(lambda job: Receipt(total=job.tries))


@dataclass
class Total:
    """Looks like a receipt, but is none."""

    total: int


async def test_a_result_of_another_class_fails_the_job(nats_server: NatsServer) -> None:
    returned: dict[int, Any] = {1: Total(5), 2: JobFailed("returned, not raised"), 3: Receipt, 4: object()}
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Any:
            return returned[job.payload.number]

        await shop.jobs.start_workers()
        for number in returned:
            ref = await shop.jobs.pack.create(Parcel(number=number))
            with pytest.raises(
                JobFailed, match='the result of a job in queue "pack" does not match its schema'
            ):
                await ref.result(timeout=SOON)
            assert (await ref.get()).tries == 1


def test_the_text_of_a_declared_error_has_its_fields() -> None:
    error = NotFoundError("no such order", resource="order", resource_id="o1")

    assert str(error) == "no such order (resource='order', resourceId='o1')"
    assert error.message == "no such order"


async def test_a_group_of_errors_steers_a_job_of_a_task_group(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            async def decline() -> None:
                raise JobFailed("card declined")

            async with asyncio.TaskGroup() as outer:
                outer.create_task(asyncio.sleep(60))
                async with asyncio.TaskGroup() as inner:
                    inner.create_task(decline())
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(PARCEL)

        with pytest.raises(JobFailed, match=r"^card declined$"):
            await ref.result(timeout=SOON)
        assert (await ref.get()).tries == 1
