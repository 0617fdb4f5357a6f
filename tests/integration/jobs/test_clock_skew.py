"""A wrong clock against a server's right one."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import clock
from trellis_nats._nats.connection import Connection
from trellis_nats.jobs.work import clock_skew
from trellis_nats.jobs.work.clock_skew import ClockSkew
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=10)


@pytest.fixture(params=[timedelta(minutes=10), -timedelta(minutes=10)], ids=["ahead", "behind"])
def away(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> timedelta:
    by: timedelta = request.param
    monkeypatch.setattr(clock_skew, "now", lambda: clock.now() + by)
    return by


async def serve(shop: Shop) -> None:
    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        return Receipt(total=1)

    await shop.jobs.start_workers()


async def test_a_worker_whose_clock_is_not_the_servers_says_so_at_its_start(
    nats_server: NatsServer, away: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await serve(shop)

    where = "ahead of" if away > timedelta(0) else "behind"
    told = [each.getMessage() for each in caplog.records if each.name == clock_skew.__name__]
    assert len(told) == 1
    assert where in told[0]
    assert "the clock of this machine is 0:09:59" in told[0] or "is 0:10:00" in told[0]


async def test_a_worker_whose_clock_is_right_says_nothing_of_it(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await serve(shop)
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.result(timeout=SOON)

    assert [each for each in caplog.records if each.name == clock_skew.__name__] == []


async def test_a_jump_is_told_while_the_worker_runs(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        jumps = [timedelta(hours=1)]

        def told(_: ClockSkew) -> timedelta:
            return jumps.pop() if jumps else timedelta(0)

        monkeypatch.setattr(ClockSkew, "jump", told)
        await serve(shop)
        await eventually(lambda: "the clock of this machine jumped by +1:00:00" in caplog.text)


async def test_a_clock_that_cannot_be_compared_is_not_accused(
    nats_server: NatsServer, away: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        connection: Connection = shop.jobs.runtime.connection
        with caplog.at_level(logging.DEBUG, logger=clock_skew.__name__):
            await ClockSkew("JOBS_WORK", "no_such_consumer").compare(connection)

    assert [each for each in caplog.records if each.levelno >= logging.INFO] == []
