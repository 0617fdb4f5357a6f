"""What a service counts while it works, and its export to Prometheus."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from trellis_nats import DeliveredEvent, JobFailed, Options, RpcContext, UnexpectedError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import count_by_subject
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.metrics import FAMILIES, MetricsSnapshot
from trellis_nats.metrics.families import JOB_RUN, RPC_CALLS
from trellis_nats.metrics.prometheus import TrellisCollector
from trellis_nats.metrics.registry import MetricsRegistry
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.cargo_watch import Watch
from tests.support.eventually import eventually
from tests.support.ferry import Cargo, Ferry
from tests.support.letter_versions import LetterVersions, generate_letters
from tests.support.orders import (
    REQUEST,
    CreateRequest,
    CreateResponse,
    NotFoundError,
    OrdersClient,
    OrdersService,
    raw_call,
)
from tests.support.parcel_versions import NewParcel, NewService, OldJob, OldService
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.shop_versions import Parcel as VersionedParcel
from tests.support.shop_versions import Version1, Version2

SOON = timedelta(seconds=30)
ATTEMPTS = "trellis_job_attempts_total"
CALLS = "trellis_rpc_calls_total"
EVENTS = "trellis_events_handled_total"


async def test_attempts_waits_run_times_and_dead_jobs_are_counted(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.payload.number == 13 or (job.payload.number == 7 and job.tries == 1):
                raise ConnectionError("away")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        refs = [await shop.jobs.pack.create(Parcel(number=number)) for number in (1, 2, 7, 13)]
        for ref in refs[:3]:
            await ref.result(timeout=SOON)
        with pytest.raises(JobFailed):
            await refs[3].result(timeout=SOON)
        await eventually(lambda: shop.metrics().value("trellis_jobs_dead_total", queue="pack") == 1)
        counted = shop.metrics()

    outcomes = {
        outcome: counted.value(ATTEMPTS, queue="pack", outcome=outcome)
        for outcome in ("completed", "retry", "dead")
    }
    assert outcomes == {"completed": 3, "retry": 3, "dead": 1}
    assert counted.value("trellis_job_run_seconds", queue="pack") == 7
    assert counted.value("trellis_job_wait_seconds", queue="pack") == 4


async def test_what_a_worker_does_now_is_shown(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle(concurrency=2)
        async def pack(job: ParcelJob) -> Receipt:
            if job.payload.number == 1:
                running.set()
                await go_on.wait()
            return Receipt(total=1)

        await shop.jobs.start_workers()

        def value(name: str) -> int:
            return shop.metrics().value(name, queue="pack")

        await eventually(lambda: value("trellis_queue_consuming") == 1)
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        assert [value(f"trellis_{name}") for name in ("jobs_running", "job_slots", "jobs_fetched_total")] == [
            *(1, 2, 1)
        ]
        go_on.set()
        await ref.result(timeout=SOON)
        await eventually(lambda: value("trellis_jobs_running") == 0)
        await eventually(lambda: shop.metrics().value("trellis_loop_lag_seconds") >= 2)
        await shop.stop()
        assert value("trellis_queue_consuming") == 0


async def test_late_progress_acks_and_a_blocked_loop_are_measured(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            time.sleep(1.2)  # noqa: ASYNC251 - it blocks on purpose, for longer than the ack wait
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        assert (await ref.result(timeout=SOON)).total == 1
        await eventually(lambda: shop.metrics().value("trellis_loop_lag_seconds") >= 2)
        by_name = {values.family.name: values for values in shop.metrics().values}

    (lag,) = by_name["trellis_loop_lag_seconds"].histograms
    (late,) = by_name["trellis_heartbeat_late_seconds"].histograms
    assert lag.sum > 0.6, "a timer of half a second fired after the handler"
    assert late.count >= 2, "the thread sent progress acks meanwhile"


async def test_waits_for_keys_are_measured(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        watch = Watch()
        watch.works(ferry.jobs.load)
        await ferry.jobs.start_workers()
        refs = [await ferry.jobs.load.create(Cargo(ship="anna", number=number)) for number in range(3)]

        def waiting() -> int:
            return ferry.metrics().value("trellis_jobs_waiting_for_key", queue="load")

        await eventually(lambda: waiting() == 2)
        watch.go_on.set()
        for ref in refs:
            await ref.wait(timeout=SOON)
        assert waiting() == 0
        assert ferry.metrics().value("trellis_key_wait_seconds", queue="load") == 3


async def test_calls_are_counted_by_outcome(nats_server: NatsServer) -> None:
    async with (
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
    ):
        answers: list[Any] = [
            CreateResponse(order_id="o1"),
            CreateResponse(order_id="o2"),
            NotFoundError("customer c1 not found", resource="customer", resource_id="c1"),
            RuntimeError("broken"),
        ]

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            assert isinstance(answer, CreateResponse)
            return answer

        await service.start()
        for expected in (None, None, NotFoundError, UnexpectedError):
            if expected is None:
                await client.create(REQUEST)
            else:
                with pytest.raises(expected):
                    await client.create(REQUEST)
        await raw_call(nats_server, b"{}")
        counted = service.metrics()

    (calls,) = (values for values in counted.values if values.family.name == CALLS)
    assert {sample.labels["outcome"]: sample.value for sample in calls.samples} == {
        "ok": 2,
        "NotFoundError": 1,
        "UnexpectedError": 1,
        "ValidationError": 1,
    }
    assert {sample.labels["rpc"] for sample in calls.samples} == {"Orders.Create"}


async def test_a_call_whose_caller_stopped_waiting_is_counted(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            await eventually(lambda: False, within=SOON)
            raise AssertionError

        await service.start()
        body = b'{"customerId":"c1","items":[]}'
        caller = await Connection.open(nats_server.url, settings=ConnectionSettings())
        caller.send("rpc.v1.Orders.Create", body, headers={"trellis-timeout-ms": "50"}, reply="answers")
        await eventually(lambda: service.metrics().value(CALLS, outcome="timeout") == 1)
        await caller.close()


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> LetterVersions:
    return generate_letters(tmp_path_factory.mktemp("letters"))


async def test_events_are_counted_by_outcome_and_what_waits_for_its_version(
    nats_server: NatsServer, letters: LetterVersions
) -> None:
    old, new = letters
    options = Options(version_patience=timedelta(seconds=1))

    async def archive(event: DeliveredEvent[Any]) -> None:
        if event.event.number == 13 or (event.event.number == 7 and event.attempt == 1):
            raise ConnectionError("away")

    async with (
        new.LettersService.connect(nats_server.url) as producer,
        old.LettersService.connect(nats_server.url, options=options) as service,
    ):
        service.consumers.archive.letters_sent.handle(archive)
        await service.start()
        for number in (1, 7, 13):
            await service.events.letters.sent.publish(old.Letter(number=number))
        await producer.events.letters.sent.publish(new.Letter(number=1, grams=1))
        await eventually(lambda: service.metrics().value(EVENTS, outcome="removed") == 1, within=SOON)
        counted = service.metrics()

    (events,) = (values for values in counted.values if values.family.name == EVENTS)
    assert {sample.labels["outcome"]: sample.value for sample in events.samples} == {
        "completed": 2,
        "retry": 2,
        "dead": 1,
        "removed": 1,
    }
    assert counted.value("trellis_events_postponed_by_version_total", group="archive") >= 1


async def test_jobs_of_another_version_and_of_a_removed_queue_are_counted(nats_server: NatsServer) -> None:
    async with (
        NewService.connect(nats_server.url) as producer,
        OldService.connect(nats_server.url) as service,
    ):

        @service.jobs.pack.handle
        async def pack(job: OldJob) -> None:
            return None

        with LogSignals() as signals:
            await service.start()
            await producer.jobs.pack.create(NewParcel(number=1, grams=2))
            await signals.wait_for(LogEvent.JOB_OF_OTHER_VERSION)
            await eventually(
                lambda: service.metrics().value("trellis_jobs_postponed_by_version_total", queue="pack") >= 1
            )
        assert service.metrics().value(ATTEMPTS) == 0


async def test_the_jobs_of_a_removed_queue_are_shown(nats_server: NatsServer) -> None:
    async with Version1.connect(nats_server.url) as old:
        for number in range(3):
            await old.jobs.weigh.create(VersionedParcel(number=number))

        async def are_enqueued() -> bool:
            counts = await count_by_subject(old.runtime.connection, "JOBS_WORK", "trellis.work.parcels.>")
            return counts.get("trellis.work.parcels.weigh") == 3

        await eventually(are_enqueued)
        async with Version2.connect(nats_server.url) as new:
            new.audit.leave_to_others()
            await new.start()

            assert new.metrics().value("trellis_removed_queue_jobs", queue="weigh") == 3


class Counted:
    """What counts as a service does."""

    def __init__(self) -> None:
        self.registry = MetricsRegistry()

    def metrics(self) -> MetricsSnapshot:
        return self.registry.snapshot()


def test_prometheus_reads_what_is_counted() -> None:
    counted, registry = Counted(), CollectorRegistry()
    registry.register(TrellisCollector(counted))
    counted.registry.number(RPC_CALLS, "Orders.Create", "ok").add()
    counted.registry.histogram(JOB_RUN, 'a "queue"').observe(0.3)
    text = generate_latest(registry).decode()

    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert {*found} == {family.name.removesuffix("_total") for family in FAMILIES}
    for family in FAMILIES:
        exported = found[family.name.removesuffix("_total")]
        assert (exported.type, exported.documentation) == (family.kind, family.help)
    assert 'trellis_rpc_calls_total{outcome="ok",rpc="Orders.Create"} 1.0' in text
    assert re.search(
        r'^trellis_job_run_seconds_bucket\{le="0\.5",queue="a \\"queue\\""\} 1\.0$', text, re.MULTILINE
    )
    assert re.search(r'^trellis_job_run_seconds_bucket\{le="\+Inf",queue=.*\} 1\.0$', text, re.MULTILINE)
    assert re.search(r"^trellis_job_run_seconds_sum\{.*\} 0\.3$", text, re.MULTILINE)


def test_two_services_of_a_process_are_one_export() -> None:
    first, second, registry = Counted(), Counted(), CollectorRegistry()
    registry.register(TrellisCollector(first, second))
    for counted, seconds in ((first, 0.3), (second, 40.0)):
        counted.registry.number(RPC_CALLS, "Health.Check", "ok").add()
        counted.registry.histogram(JOB_RUN, "notify").observe(seconds)
    second.registry.number(RPC_CALLS, "Orders.Create", "ok").add()
    text = generate_latest(registry).decode()

    assert {family.name for family in text_string_to_metric_families(text)} == {
        family.name.removesuffix("_total") for family in FAMILIES
    }
    assert 'trellis_rpc_calls_total{outcome="ok",rpc="Health.Check"} 2.0' in text
    assert 'trellis_rpc_calls_total{outcome="ok",rpc="Orders.Create"} 1.0' in text
    assert 'trellis_job_run_seconds_bucket{le="1.0",queue="notify"} 1.0' in text
    assert 'trellis_job_run_seconds_count{queue="notify"} 2.0' in text
    assert 'trellis_job_run_seconds_sum{queue="notify"} 40.3' in text


async def test_the_code_of_the_guide_exports(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (Path(__file__).parents[3] / "docs/guides/metrics.md").read_text()
    ports: list[int] = []
    registry = CollectorRegistry()
    monkeypatch.setattr("prometheus_client.REGISTRY", registry)
    monkeypatch.setattr("prometheus_client.start_http_server", ports.append)
    async with OrdersService.connect(nats_server.url) as service:
        for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
            exec(block, {"service": service})  # noqa: S102 - the guide is ours

    assert ports == [9464]
    assert b"# TYPE trellis_rpc_calls_total counter" in generate_latest(registry)
    assert "trellis_job_attempts_total () ()" in capsys.readouterr().out
