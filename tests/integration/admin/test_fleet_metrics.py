"""The metrics of a fleet on a real server."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import trellis_admin
from prometheus_client.parser import text_string_to_metric_families
from trellis_admin.metrics import FLEET_FAMILIES, FleetMetrics, MetricsEndpoint
from trellis_admin.metrics.server import QueuePlace
from trellis_admin.metrics.unsourced import WaitingJob, measure_unsourced
from trellis_nats import ConfigurationError
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.clock import now
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.delays import count_messages
from tests.support.eventually import eventually
from tests.support.foreign_events import publish_foreign
from tests.support.lost_work import connection_of, detach_work, has_work, purge_work
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.versions import VERSIONS, binary_of

SOON: Final = timedelta(seconds=30)
PACK: Final = QueuePlace("shop", "pack", "trellis.jobs.shop.pack")
LATER: Final = timedelta(minutes=5)
PROMTOOL: Final = shutil.which("promtool")


class Numbers:
    """The samples of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """Return the only value with these labels."""
        (value,) = (
            sample.value
            for sample in self.samples
            if sample.name == f"trellis_fleet_{name}" and labels.items() <= sample.labels.items()
        )
        return value


async def read(server: NatsServer, folder: Path) -> Numbers:
    """Bring the projection up to date and return the numbers."""
    async with trellis_admin.connect(server.url, db=folder / "jobs.sqlite") as operator:
        return Numbers(await FleetMetrics(operator.session.connection, operator.session.database).text())


async def test_queues_waits_errors_workers_and_streams(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.payload.number > 1:
                raise ConnectionError(f"scale {job.payload.number} does not answer")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        refs = [await shop.jobs.pack.create(Parcel(number=number)) for number in (1, 2, 3)]
        for ref in refs:
            await ref.wait(timeout=SOON)
        await shop.jobs.charge.create(Parcel(number=1))

        async def has_heartbeat() -> bool:
            subject = "trellis.jobs.workers.shop.pack.*.heartbeat"
            return await get_last_message(connection_of(shop), "JOBS", subject) is not None

        await eventually(has_heartbeat)
        numbers = await read(nats_server, tmp_path)

    pack_queue = {"service": "shop", "queue": "pack"}
    assert numbers("jobs", **pack_queue, state="completed") == 1
    assert numbers("jobs", **pack_queue, state="dead") == 2
    assert numbers("jobs", service="shop", queue="charge", state="pending") == 1
    assert numbers("recent_events", **pack_queue, event="created") == 3
    assert numbers("recent_events", **pack_queue, event="died") == 2
    assert numbers("recent_events", **pack_queue, event="failed_attempt") >= 4
    assert numbers("oldest_waiting_seconds", **pack_queue) == 0
    assert numbers("oldest_waiting_seconds", service="shop", queue="charge") >= 0
    assert numbers("queue_workers", **pack_queue) == 1
    assert numbers("workers", service="shop", state="live") == 1
    assert numbers("workers", service="shop", state="silent") == 0
    assert numbers("error_group_jobs", **pack_queue) == 2
    assert numbers("paused", **pack_queue) == 0
    assert numbers("consumer_messages", service="shop", queue="charge", kind="pending") == 1
    assert numbers("consumer_messages", **pack_queue, kind="unacknowledged") == 0
    assert numbers("source_lag_messages", stream="JOBS_WORK") == 0
    assert numbers("stream_messages", stream="JOBS_WORK") == 1
    assert numbers("projection_lag_events") == 0
    assert numbers("projection_complete") == 1
    assert numbers("projection_sequence") == numbers("stream_last_sequence", stream="JOBS")
    for part in ("streams", "consumers", "pauses", "work_messages"):
        assert numbers("server_answers", part=part) == 1
    names = {sample.name for sample in numbers.samples}
    of_a_process = {"trellis_fleet_duties_leader", "trellis_fleet_duty_jobs_total"}
    assert {family.name for family in FLEET_FAMILIES} - names <= of_a_process
    check_with_promtool(numbers.text)


def check_with_promtool(text: str) -> None:
    if PROMTOOL is None:
        return  # the test of the rules says so
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def test_a_paused_queue_is_seen(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await shop.jobs.pack.create(Parcel(number=1))
        await KvBucket(connection_of(shop), "JOBS_KEYS_shop").put("pause.pack", b'{"by":"anna"}')
        paused = await read(nats_server, tmp_path)
        await KvBucket(connection_of(shop), "JOBS_KEYS_shop").delete("pause.pack")
        resumed = await read(nats_server, tmp_path)

    assert paused("paused", queue="pack") == 1
    assert resumed("paused", queue="pack") == 0


async def test_groups_of_errors_are_bounded(nats_server: NatsServer, tmp_path: Path) -> None:
    words = [f"{first}{second}" for first in "abcdefgh" for second in "abcdefgh"]
    async with Shop.connect(nats_server.url) as shop:
        for number, word in enumerate(words):
            await publish_foreign(shop, EventType.CREATED, f"job{number}")
            await publish_foreign(
                shop, EventType.DEAD, f"job{number}", {"error": f"the part {word} is missing"}
            )
        numbers = await read(nats_server, tmp_path)

    groups = [sample for sample in numbers.samples if sample.name == "trellis_fleet_error_group_jobs"]
    assert len(groups) == 51
    assert sum(sample.value for sample in groups) == len(words)
    assert numbers("error_group_jobs", fingerprint="other") == len(words) - 50


async def test_a_server_that_is_away_leaves_a_hole_and_says_so(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await shop.jobs.pack.create(Parcel(number=1))
        await read(nats_server, tmp_path)
        connection = connection_of(shop)
    numbers = Numbers(await FleetMetrics(connection, tmp_path / "jobs.sqlite").text())

    assert numbers("jobs", queue="pack", state="pending") == 1
    assert numbers("server_answers", part="streams") == 0
    assert not any(sample.name == "trellis_fleet_stream_messages" for sample in numbers.samples)


# --- jobs without work messages ------------------------------------------------------------------------------------------


async def age_of(shop: Shop, *waiting: WaitingJob) -> float:
    """Return the number of the queue, five minutes from now, if these jobs wait."""

    def find(_queue: QueuePlace, after: int) -> WaitingJob | None:
        return next((job for job in waiting if job.sequence > after), None)

    (measured,) = await measure_unsourced(connection_of(shop), [PACK], find, now=now() + LATER)
    return measured.value


async def created(shop: Shop, number: int, *, delay: timedelta | None = None) -> WaitingJob:
    ref = await shop.jobs.pack.create(Parcel(number=number), delay=delay)
    stored = await get_last_message(connection_of(shop), "JOBS", f"trellis.jobs.shop.pack.{ref.id}.created")
    assert stored is not None
    return WaitingJob(ref.id, stored.sequence, stored.time)


async def test_jobs_that_are_sourced_have_their_messages(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        jobs = [await created(shop, number) for number in range(20)]
        await eventually(lambda: has_work(shop, 20))
        ages = [await age_of(shop, job) for job in jobs]

    assert ages == [0.0] * 20


async def test_one_lost_message_among_others_is_found(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        jobs = [await created(shop, number) for number in range(20)]
        await eventually(lambda: has_work(shop, 20))
        await call(connection_of(shop), "STREAM.MSG.DELETE.JOBS_WORK", {"seq": 8})
        ages = [await age_of(shop, job) for job in jobs]

    assert [number for number, age in enumerate(ages) if age] == [7]
    assert ages[7] > 200


async def test_a_source_that_stands_still_is_found(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop:
        first = await created(shop, 1)
        await eventually(lambda: has_work(shop, 1))
        await detach_work(shop)
        second = await created(shop, 2)
        age = await age_of(shop, first, second)
        young = await read(nats_server, tmp_path)

    assert age > 200
    assert young("oldest_without_work_seconds", queue="pack") == 0  # the job is younger than 30 s


async def test_work_that_an_operator_purged_is_found(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job = await created(shop, 1)
        await purge_work(shop, 1)
        assert await age_of(shop, job) > 200
        await shop.jobs.pack.ref(job.id).cancel()
        assert await age_of(shop, job) == 0


async def test_a_parked_job_is_not_lost(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        job = await created(shop, 1, delay=timedelta(hours=1))

        async def is_parked() -> bool:
            return await count_messages(connection_of(shop), "JOBS_DELAYED") == 1 and await has_work(shop, 0)

        await eventually(is_parked, within=SOON)
        assert await age_of(shop, job) == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_older_servers_have_the_same_numbers(version: str, tmp_path: Path) -> None:
    async with NatsServer(binary=binary_of(version)) as server, Shop.connect(server.url) as shop:
        jobs = [await created(shop, number) for number in range(5)]
        await eventually(lambda: has_work(shop, 5))
        await call(connection_of(shop), "STREAM.MSG.DELETE.JOBS_WORK", {"seq": 3})
        ages = [await age_of(shop, job) for job in jobs]
        numbers = await read(server, tmp_path)

    assert [number for number, age in enumerate(ages) if age] == [2]
    assert numbers("jobs", queue="pack", state="pending") == 5
    for part in ("streams", "consumers", "pauses", "work_messages"):
        assert numbers("server_answers", part=part) == 1


# --- the endpoint --------------------------------------------------------------------------------------------------------


def get(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - it is our own page
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


async def test_the_endpoint_serves_one_page() -> None:
    async def text() -> str:
        return "trellis_fleet_projection_sequence 1\n"

    async with MetricsEndpoint(text, host="127.0.0.1", port=0) as endpoint:
        base = f"http://127.0.0.1:{endpoint.port}"
        status, kind, body = await asyncio.to_thread(get, f"{base}/metrics?x=1")
        other, _, _ = await asyncio.to_thread(get, f"{base}/")
        with pytest.raises(ConfigurationError, match="choose another port"):
            async with MetricsEndpoint(text, host="127.0.0.1", port=endpoint.port):
                pass

    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert body == "trellis_fleet_projection_sequence 1\n"
    assert other == 404


async def test_a_failure_is_one_for_prometheus() -> None:
    async def text() -> str:
        raise ConfigurationError("the file is gone")

    async with MetricsEndpoint(text, host="127.0.0.1", port=0) as endpoint:
        status, _, body = await asyncio.to_thread(get, f"http://127.0.0.1:{endpoint.port}/metrics")

    assert status == 503
    assert "the file is gone" in body


async def test_an_endpoint_that_stops_is_not_held_by_an_idle_client() -> None:
    async def text() -> str:
        return ""

    async with MetricsEndpoint(text, host="127.0.0.1", port=0) as endpoint:
        _, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.close()
