"""A service is not ready while what its workers write to is missing or full, and becomes ready again automatically."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
from pydantic import JsonValue
from trellis_nats import HealthStatus, permissions
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject, call
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import create_stream, get_stream_info, update_stream
from trellis_nats._support.log_events import LogEvent
from trellis_nats.errors import TransportError
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.depot import Depot, login, standing
from tests.support.eventually import eventually
from tests.support.lost_work import connection_of
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

RED_WITHIN = timedelta(seconds=10)
GREEN_WITHIN = timedelta(seconds=20)
MIB = 1024 * 1024


@asynccontextmanager
async def working(url: str) -> AsyncGenerator[Shop]:
    """Work a queue without keys and one with keys."""
    async with Shop.connect(url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        @shop.jobs.ship.handle
        async def ship(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.start()
        await eventually(lambda: is_ready(shop))
        yield shop


async def is_ready(service: Shop | Depot) -> bool:
    return (await service.health.report()).ready


async def is_unready(service: Shop | Depot) -> bool:
    report = await service.health.report()
    return not report.ready and report.status is HealthStatus.UNHEALTHY


async def reason(service: Shop | Depot) -> str:
    return "; ".join((await service.health.report()).problems)


async def config_of(connection: Connection, stream: str) -> JsonObject:
    info = await get_stream_info(connection, stream)
    assert info is not None
    return cast("JsonObject", info["config"])


async def fill(connection: Connection) -> None:
    """Write to the stream of jobs until it accepts not even a small message."""
    for size_bytes in (20_000, 10):
        with pytest.raises(TransportError):
            await write_until_refused(connection, b"x" * size_bytes)


async def write_until_refused(connection: Connection, data: bytes) -> None:
    while True:
        await publish_acked(connection, "trellis.jobs.other.queue.J1.logged", data)


async def test_the_stream_of_jobs_is_deleted_and_comes_back(nats_server: NatsServer) -> None:
    async with working(nats_server.url) as shop:
        connection = connection_of(shop)
        config = await config_of(connection, "JOBS")
        with LogSignals() as signals:
            await call(connection, "STREAM.DELETE.JOBS")
            await eventually(lambda: is_unready(shop), within=RED_WITHIN)
            assert "stream JOBS does not exist" in await reason(shop)

            await create_stream(connection, config)
            await eventually(lambda: is_ready(shop), within=GREEN_WITHIN)
        assert len(signals.of(LogEvent.WRITES_FAIL)) == len(signals.of(LogEvent.WRITES_RECOVERED)) == 1


async def test_the_bucket_of_the_keys_is_deleted_and_comes_back(nats_server: NatsServer) -> None:
    async with working(nats_server.url) as shop:
        connection = connection_of(shop)
        config = await config_of(connection, "KV_JOBS_KEYS_shop")
        await call(connection, "STREAM.DELETE.KV_JOBS_KEYS_shop")
        await eventually(lambda: is_unready(shop), within=RED_WITHIN)
        assert "bucket JOBS_KEYS_shop" in await reason(shop)

        await create_stream(connection, config)
        await eventually(lambda: is_ready(shop), within=GREEN_WITHIN)


@pytest.mark.parametrize("limit", ["stream", "account"])
async def test_the_store_is_full_and_has_room_again(limit: str) -> None:
    """No process creates a job meanwhile: an idle worker notices too."""
    config = (
        f"accounts {{ A {{ jetstream {{ max_file: {2 * MIB} }}, users: [{{ user: a, password: a }}] }} }}\n"
        "no_auth_user: a"
        if limit == "account"
        else ""
    )
    async with NatsServer(config=config) as server, working(server.url) as shop:
        connection = connection_of(shop)
        before = await config_of(connection, "JOBS")
        limited: dict[str, JsonValue] = {**before, "discard": "new", "max_bytes": 200_000}
        if limit == "stream":
            await update_stream(connection, limited)
        await fill(connection)

        await eventually(lambda: is_unready(shop), within=RED_WITHIN)
        assert "stream JOBS does not accept writes" in await reason(shop)

        await call(connection, "STREAM.PURGE.JOBS")
        await eventually(lambda: is_ready(shop), within=GREEN_WITHIN)
        ref = await shop.jobs.pack.create(Parcel(number=1))
        assert await ref.result(timeout=GREEN_WITHIN) == Receipt(total=1)


async def test_a_worker_that_may_not_write_heartbeats_notices_a_deleted_stream() -> None:
    worker = permissions(Depot, "worker")
    quiet = replace(worker, publish=tuple(line for line in worker.publish if ".workers." not in line))
    async with (
        standing({"root": None, "quiet": quiet}) as server,
        Depot.connect(server.url, options=login("root")) as root,
        Depot.connect(server.url, options=login("quiet")) as depot,
    ):

        @depot.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await depot.start()
        await eventually(lambda: is_ready(depot))
        config = await config_of(root.jobs.runtime.connection, "JOBS")
        await call(root.jobs.runtime.connection, "STREAM.DELETE.JOBS")
        await eventually(lambda: is_unready(depot), within=RED_WITHIN)

        await create_stream(root.jobs.runtime.connection, config)
        await eventually(lambda: is_ready(depot), within=GREEN_WITHIN)


async def test_an_idle_worker_that_is_probed_stays_ready(nats_server: NatsServer) -> None:
    """It writes a heartbeat to find out, but not for every probe."""
    async with working(nats_server.url) as shop:
        before, began = await messages(connection_of(shop)), time.monotonic()

        async def has_written() -> bool:
            assert await is_ready(shop)
            return await messages(connection_of(shop)) > before

        await eventually(has_written)
        assert time.monotonic() - began > 3


async def messages(connection: Connection) -> int:
    info = await get_stream_info(connection, "JOBS")
    assert info is not None
    state = cast("JsonObject", info["state"])
    return cast("int", state["messages"])
