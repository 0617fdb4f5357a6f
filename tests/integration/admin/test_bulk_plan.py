"""What a dry run says of the queues in which jobs that are sent again would wait."""

from __future__ import annotations

from pathlib import Path

import trellis_admin
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.lost_work import connection_of
from tests.support.shop import ParcelJob, Receipt, Shop
from tests.support.stored_jobs import store_jobs


async def test_a_plan_names_the_queues_that_are_paused_or_have_no_worker(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with (
        Shop.connect(nats_server.url) as shop,
        trellis_admin.connect(nats_server.url, actor="anna", db=tmp_path / "anna.sqlite") as anna,
    ):
        await store_jobs(connection_of(shop), 3)
        await store_jobs(connection_of(shop), 2, queue="charge")

        async def idle(action: str = "replay") -> set[tuple[str, int, str]]:
            return set((await anna.bulk.plan(action, "state:dead")).idle)

        assert await idle() == {("shop/pack", 3, "has no worker"), ("shop/charge", 2, "has no worker")}
        assert await idle("dismiss") == set()

        @shop.jobs.pack.handle
        async def pack(_job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        await anna.pause("charge", reason="the bank is closed")

        async def is_worked() -> bool:
            return await idle() == {("shop/charge", 2, "is paused by anna")}

        await eventually(is_worked)
