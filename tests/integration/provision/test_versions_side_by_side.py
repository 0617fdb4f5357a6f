"""A rolling deploy of a contract with other settings: the new version starts next to the old one, and the old one again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from pydantic import JsonValue
from trellis_nats import Options
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.streams import delete_consumer, get_consumer_info
from trellis_nats._support.log_events import LogEvent
from trellis_nats.errors import ProvisioningError
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.shop_versions import (
    Moved,
    Note,
    Parcel,
    ParcelJob,
    Version1,
    Version2,
    record_event,
)
from tests.support.versions import binary_of

SOON = timedelta(seconds=20)
Version = type[Version1] | type[Version2]
DIRECTIONS = [(Version1, Version2), (Version2, Version1)]


@asynccontextmanager
async def worked(
    version: Version, url: str, runs: list[str], events: list[str]
) -> AsyncGenerator[Version1 | Version2]:
    async with version.connect(url) as service:

        @service.jobs.pack.handle
        async def pack(job: ParcelJob) -> None:
            runs.append(job.id)
            await asyncio.sleep(job.payload.number)

        record_event(service, events)
        await service.start()
        yield service


def lines_of(signals: LogSignals, event: LogEvent) -> list[str]:
    return [record.getMessage() for record in signals.of(event) if record.levelno == logging.WARNING]


async def change_consumer(connection: Connection, stream: str, name: str, **changed: JsonValue) -> None:
    info = await get_consumer_info(connection, stream, name)
    assert info is not None
    config: dict[str, JsonValue] = {**info.config, **changed}
    request = f"CONSUMER.CREATE.{stream}.{name}.{config['filter_subject']}"
    await call(connection, request, {"stream_name": stream, "config": config, "action": "update"})


@pytest.mark.parametrize(("first", "second"), DIRECTIONS, ids=["new next to old", "old next to new"])
@pytest.mark.parametrize("server_version", [None, "2.10.26"])
async def test_a_version_with_other_settings_works_with_what_the_server_has(
    first: Version, second: Version, server_version: str | None
) -> None:
    runs: list[str] = []
    events: list[str] = []
    binary = None if server_version is None else binary_of(server_version)
    async with NatsServer(binary=binary) as server, worked(first, server.url, runs, events) as there:
        with LogSignals() as signals:
            async with worked(second, server.url, runs, events) as here:
                refs = [await service.jobs.pack.create(Parcel(number=0)) for service in (there, here) * 5]
                await asyncio.gather(*(ref.result(timeout=SOON) for ref in refs))
                await here.moved.publish(Moved(order_id="o1"))
                await eventually(lambda: events)
                await here.notes.put("k", Note(text="n"))
                entry = await there.notes.get("k")

            bucket_lines = lines_of(signals, LogEvent.STREAM_DEVIATES)
            consumer_lines = lines_of(signals, LogEvent.CONSUMER_DEVIATES)
    assert entry is not None
    assert sorted(runs) == sorted(ref.id for ref in refs)
    assert events == ["o1"]
    is_newer = second is Version2
    assert [line.partition(";")[0] for line in bucket_lines if "bucket" in line] == [
        'bucket "parcels_notes" is not as this version of the contract states: max_msgs_per_subject is 1, not 5, '
        "max_age is unlimited, not 86400 s"
        if is_newer
        else 'bucket "parcels_notes" is not as this version of the contract states: max_msgs_per_subject is 5, not 1, '
        "max_age is 86400 s, not unlimited"
    ]
    waits = "ack_wait is 1 s, not 60 s" if is_newer else "ack_wait is 60 s, not 1 s"
    assert any(
        f'"parcels__pack" of stream "JOBS_WORK" is not as this version of the contract states: {waits}'
        in line
        for line in consumer_lines
    )
    assert any('"parcels__audit"' in line and "max_ack_pending" in line for line in consumer_lines)


@pytest.mark.parametrize(("first", "second"), DIRECTIONS, ids=["new next to old", "old next to new"])
async def test_a_job_runs_once_under_the_ack_wait_that_the_server_has(
    nats_server: NatsServer, first: Version, second: Version
) -> None:
    """A heartbeat every 20 s, a third of 60 s, would be too late for an ack wait of 1 s."""
    runs: list[str] = []
    async with (
        first.connect(nats_server.url) as producer,
        worked(second, nats_server.url, runs, []),
        worked(second, nats_server.url, runs, []),
    ):
        ref = await producer.jobs.pack.create(Parcel(number=3))
        await ref.result(timeout=SOON)
        info = await get_consumer_info(producer.runtime.connection, "JOBS_WORK", "parcels__pack")

    assert info is not None
    assert runs == [ref.id]
    assert info.delivered == 1


async def test_an_ack_wait_that_is_changed_while_a_job_runs_applies_to_its_heartbeats(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.health.service_health._REFRESH_EVERY", 0.1)  # 30 s
    runs: list[str] = []
    async with worked(Version2, nats_server.url, runs, []) as service:
        connection = service.runtime.connection
        ref = await service.jobs.pack.create(Parcel(number=6))
        await eventually(lambda: runs)
        await change_consumer(connection, "JOBS_WORK", "parcels__pack", ack_wait=2_000_000_000)
        await ref.result(timeout=SOON)
        after = await get_consumer_info(connection, "JOBS_WORK", "parcels__pack")

    assert after is not None
    assert runs == [ref.id]
    assert after.delivered == 1


async def test_a_producer_needs_no_consumer(nats_server: NatsServer) -> None:
    async with Version1.connect(nats_server.url) as owner:
        await delete_consumer(owner.runtime.connection, "JOBS_WORK", "parcels__pack")

        async with Version2.connect(nats_server.url, options=Options(provision="verify")) as producer:
            ref = await producer.jobs.pack.create(Parcel(number=1))
            assert (await ref.get()).state == "pending"


async def test_a_worker_needs_its_consumer(nats_server: NatsServer) -> None:
    async with Version1.connect(nats_server.url) as owner:
        await delete_consumer(owner.runtime.connection, "JOBS_WORK", "parcels__pack")
        async with Version2.connect(nats_server.url, options=Options(provision="verify")) as worker:
            worker.jobs.pack.handle(_refuse)
            with pytest.raises(
                ProvisioningError, match='"parcels__pack" of stream "JOBS_WORK" does not exist'
            ):
                await worker.jobs.start_workers()


async def _refuse(job: ParcelJob) -> None:
    raise AssertionError(job.id)


async def test_a_consumer_with_another_filter_stops_the_worker_and_no_producer(
    nats_server: NatsServer,
) -> None:
    async with Version1.connect(nats_server.url) as owner:
        connection = owner.runtime.connection
        info = await get_consumer_info(connection, "JOBS_WORK", "parcels__pack")
        assert info is not None
        await delete_consumer(connection, "JOBS_WORK", "parcels__pack")
        config: dict[str, JsonValue] = {**info.config, "filter_subject": "trellis.work.parcels.other"}
        await call(
            connection,
            "CONSUMER.CREATE.JOBS_WORK.parcels__pack.trellis.work.parcels.other",
            {"stream_name": "JOBS_WORK", "config": config},
        )

        async with Version2.connect(nats_server.url) as service:
            await service.jobs.pack.create(Parcel(number=1))
            service.jobs.pack.handle(_refuse)
            with pytest.raises(ProvisioningError, match=r"it filters trellis\.work\.parcels\.other"):
                await service.jobs.start_workers()
