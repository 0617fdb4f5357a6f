"""A wrong clock is compared with the server's correct one."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import clock
from trellis_nats.jobs.work import clock_skew
from trellis_nats.jobs.work.clock_skew import ClockSkew
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

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


async def test_a_worker_whose_clock_is_not_the_servers_logs_it_at_its_start(
    nats_server: NatsServer, away: timedelta
) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:
            await serve(shop)

    (record,) = signals.of(LogEvent.CLOCK_SKEWED)
    text = record.getMessage()
    assert ("ahead of" if away > timedelta(0) else "behind") in text
    assert "the clock of this machine is 0:09:59" in text or "is 0:10:00" in text


async def test_a_worker_whose_clock_is_right_logs_nothing_about_it(nats_server: NatsServer) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:
            await serve(shop)
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await ref.result(timeout=SOON)

    assert [record for record in signals.records if record.name == clock_skew.__name__] == []


async def test_a_jump_is_logged_while_the_worker_runs(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LogSignals() as signals:
        async with Shop.connect(nats_server.url) as shop:
            jumps = [timedelta(hours=1)]

            def jump(_: ClockSkew) -> timedelta:
                return jumps.pop() if jumps else timedelta(0)

            monkeypatch.setattr(ClockSkew, "jump", jump)
            await serve(shop)
            record = await signals.wait_for(LogEvent.CLOCK_JUMPED)

    assert record.getMessage() == "the clock of this machine jumped by +1:00:00"


async def test_a_clock_that_cannot_be_compared_is_not_called_wrong(
    nats_server: NatsServer, away: timedelta
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        with LogSignals() as signals:
            await ClockSkew("JOBS_WORK", "no_such_consumer").compare(shop.jobs.runtime.connection)

    assert [record for record in signals.records if record.levelno >= logging.INFO] == []
