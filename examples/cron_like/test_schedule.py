"""Two schedulers on a real nats-server."""

import asyncio
from datetime import UTC, datetime

from orders_participant import OrdersService
from trellis_nats.testing import NatsServer, service_under_test

from examples.cron_like.schedule import EVERY, create_due, last_due


def test_a_scheduled_time_is_the_same_for_every_clock_between_two_of_them() -> None:
    due = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)

    assert last_due(due) == last_due(due + EVERY - EVERY / 300) == due
    assert last_due(due + EVERY) == due + EVERY


async def test_two_schedulers_create_one_job_for_each_time(nats_server: NatsServer) -> None:
    due = last_due(datetime.now(UTC))
    async with (
        service_under_test(OrdersService, nats_server.url) as one,
        service_under_test(OrdersService, nats_server.url) as other,
    ):
        await asyncio.gather(create_due(one.service, due), create_due(other.service, due))
        assert len(await one.created(one.service.jobs.refresh_catalog)) == 1

        await create_due(other.service, due + EVERY)
        assert len(await one.created(one.service.jobs.refresh_catalog)) == 2
