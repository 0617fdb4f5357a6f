"""The health of a service: the checks of the program, its connection, its queues."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from trellis_nats import ConfigurationError, HealthReport, HealthStatus
from trellis_nats._nats.jetstream.api import call
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

LONG = 60
"""Seconds that no test waits for."""


@asynccontextmanager
async def packing(url: str) -> AsyncGenerator[Shop]:
    async with Shop.connect(url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.start()
        await eventually(lambda: is_healthy(shop))
        yield shop


async def is_healthy(shop: Shop) -> bool:
    return (await shop.health.report()).status is HealthStatus.HEALTHY


async def error_of(shop: Shop, name: str) -> str | None:
    checks = {check.name: check for check in (await shop.health.report()).checks}
    return checks[name].error


def names(report: HealthReport) -> list[str]:
    return [check.name for check in report.checks]


async def test_a_service_is_alive_but_not_ready_before_it_starts(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        report = await shop.health.report()

        assert (report.status, report.ready) == (HealthStatus.DEGRADED, False)
        assert report.problems == ("service: the service is not started",)


async def test_a_service_without_workers_is_ready_once_started(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await shop.start()
        started = await shop.health.report()
        await shop.stop()
        stopped = await shop.health.report()

    assert (started.status, started.ready) == (HealthStatus.HEALTHY, True)
    assert names(started) == ["service", "nats"]
    assert stopped.problems == ("service: the service is stopped",)


async def test_workers_that_run_are_ready_when_their_queues_consume(nats_server: NatsServer) -> None:
    async with packing(nats_server.url) as shop:
        report = await shop.health.report()

    assert report.ready
    assert names(report) == ["service", "nats", "jobs.pack", "jobs.pack.due"]
    assert all(check.ok for check in report.checks)


async def test_workers_started_alone_make_a_service_ready(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        host = await shop.jobs.start_workers()
        await eventually(lambda: is_healthy(shop))
        await host.stop()

        assert not (await shop.health.report()).ready


async def test_a_consumer_deleted_while_the_worker_was_at_capacity_is_reported(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await go_on.wait()
            return Receipt(total=1)

        await shop.start()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        await call(shop.jobs.runtime.connection, "CONSUMER.DELETE.JOBS_WORK.shop__pack")
        go_on.set()
        await ref.wait(timeout=timedelta(seconds=5))

        await eventually(lambda: error_of(shop, "jobs.pack"))
        assert (await shop.health.report()).status is HealthStatus.UNHEALTHY


async def test_user_checks_are_part_of_the_report(nats_server: NatsServer) -> None:
    async with packing(nats_server.url) as shop:

        async def database() -> str:
            return "12 connections"

        def disk() -> None:
            raise OSError("no space left")

        shop.health.check("database", database)
        shop.health.check("disk", disk, critical=False)
        shop.health.check("cache", lambda: False)
        report = await shop.health.report()
        checks = {check.name: check for check in report.checks}

    assert (checks["database"].ok, checks["database"].summary) == (True, "12 connections")
    assert (checks["disk"].ok, checks["disk"].error) == (False, "OSError: no space left")
    assert (checks["cache"].ok, checks["cache"].error) == (False, "the check returned False")
    assert (report.status, report.ready) == (HealthStatus.UNHEALTHY, False)


async def test_a_check_that_is_not_critical_degrades_only(nats_server: NatsServer) -> None:
    async with packing(nats_server.url) as shop:
        shop.health.check("cache", lambda: False, critical=False)
        report = await shop.health.report()

    assert (report.status, report.ready) == (HealthStatus.DEGRADED, True)


async def test_a_check_that_hangs_fails_in_time_and_is_cancelled(nats_server: NatsServer) -> None:
    async with packing(nats_server.url) as shop:
        cancelled = asyncio.Event()

        async def slow() -> None:
            try:
                await asyncio.sleep(LONG)
            finally:
                cancelled.set()

        shop.health.check("slow", slow, timeout=timedelta(milliseconds=50))

        assert await error_of(shop, "slow") == "no answer within 0.05 s"
        await asyncio.wait_for(cancelled.wait(), 1)


async def test_a_plain_check_that_hangs_blocks_nothing_and_runs_once(nats_server: NatsServer) -> None:
    go_on, runs = threading.Event(), 0

    def slow() -> None:
        nonlocal runs
        runs += 1
        go_on.wait()

    async with packing(nats_server.url) as shop:
        shop.health.check("slow", slow, timeout=timedelta(milliseconds=50))
        assert await error_of(shop, "slow") == "no answer within 0.05 s"
        await eventually(lambda: is_still_running(shop))
        assert runs == 1
        go_on.set()
        await eventually(lambda: is_healthy(shop))


async def is_still_running(shop: Shop) -> bool:
    return await error_of(shop, "slow") == "an earlier run of this check has not ended"


async def test_many_reports_run_a_check_once(nats_server: NatsServer) -> None:
    runs: list[float] = []
    async with packing(nats_server.url) as shop:
        shop.health.check("counted", lambda: runs.append(time.monotonic()))
        for _ in range(20):
            await shop.health.report()

    assert len(runs) == 1


@pytest.mark.parametrize("name", ["", "nats", "service", "jobs.pack", "taken"])
async def test_a_name_that_is_in_use_or_built_in_is_refused(nats_server: NatsServer, name: str) -> None:
    async with Shop.connect(nats_server.url) as shop:
        shop.health.check("taken", lambda: True)

        with pytest.raises(ConfigurationError, match="health check"):
            shop.health.check(name, lambda: True)
