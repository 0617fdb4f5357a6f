"""One instance at a time has the duties of a service."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from time import monotonic
from typing import Final

import pytest
from trellis_nats import Duties, Options
from trellis_nats._nats.jetstream.kv import Bucket, KvRecord
from trellis_nats.jobs.maintenance.leader_lease import LEASE_KEY
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.lost_work import connection_of, has_work, purge_work
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.shop_process import shop_process

SOON: Final = timedelta(seconds=10)
LEASE: Final = timedelta(milliseconds=600)
DUTIES: Final = Duties(
    lease=LEASE, reconcile_every=timedelta(milliseconds=20), lost_after=timedelta(0), purge_every=None
)


@asynccontextmanager
async def working(server: NatsServer, duties: Duties = DUTIES) -> AsyncGenerator[Shop, None]:
    async with Shop.connect(server.url, options=Options(duties=duties)) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        yield shop


async def test_one_of_several_instances_has_the_duties(nats_server: NatsServer) -> None:
    async with AsyncExitStack() as stack:
        shops = [await stack.enter_async_context(working(nats_server)) for _ in range(4)]
        await eventually(lambda: any(shop.jobs.has_duties for shop in shops))

        until = monotonic() + 2 * LEASE.total_seconds()
        most = 0

        async def watched() -> bool:
            nonlocal most
            most = max(most, sum(shop.jobs.has_duties for shop in shops))
            return monotonic() > until

        await eventually(watched)
        assert most == 1
        assert sum(shop.jobs.last_reconcile is not None for shop in shops) == 1


async def test_a_lost_job_is_found_by_the_holder_without_being_asked(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as creator:
        ref = await creator.jobs.pack.create(Parcel(number=1))
        await purge_work(creator, 1)
        async with working(nats_server):
            assert await ref.result(timeout=SOON) == Receipt(total=1)
            await eventually(lambda: has_work(creator, 0))


async def test_an_instance_that_stops_hands_the_duties_over_at_once(nats_server: NatsServer) -> None:
    length = timedelta(minutes=1)
    quick = Duties(lease=timedelta(seconds=1.2), reconcile_every=DUTIES.reconcile_every, purge_every=None)
    slow = Duties(lease=length, reconcile_every=DUTIES.reconcile_every, purge_every=None)
    async with working(nats_server, slow) as first:
        await eventually(lambda: first.jobs.has_duties)
        async with working(nats_server, quick) as second:
            await first.stop()
            assert not first.jobs.has_duties
            await eventually(lambda: second.jobs.has_duties, within=timedelta(seconds=1))


async def test_the_duties_of_a_killed_instance_are_taken_over(nats_server: NatsServer) -> None:
    async with (
        shop_process(nats_server.url, lease=LEASE) as holder,
        Shop.connect(nats_server.url) as watcher,
    ):
        bucket = Bucket(connection_of(watcher), "JOBS_KEYS_shop")
        first = await eventually(lambda: bucket.get(LEASE_KEY))
        async with working(nats_server) as heir:
            await eventually(lambda: is_renewed(bucket, first))
            assert not heir.jobs.has_duties, "its holder lives"
            holder.process.kill()
            killed = monotonic()

            await eventually(lambda: heir.jobs.has_duties)

            assert monotonic() - killed < LEASE.total_seconds() + 0.3


async def is_renewed(bucket: Bucket, before: KvRecord | None) -> bool:
    record = await bucket.get(LEASE_KEY)
    return record is not None and before is not None and record.revision > before.revision


async def test_the_duties_go_on_after_the_server_was_away(nats_server: NatsServer) -> None:
    async with working(nats_server) as shop:
        await eventually(lambda: shop.jobs.has_duties)
        nats_server.kill()
        await eventually(lambda: not shop.jobs.has_duties)
        nats_server.restart()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        await eventually(lambda: shop.jobs.has_duties)
        assert await ref.result(timeout=SOON) == Receipt(total=1)


async def test_a_frozen_holder_notices_that_its_time_is_over(nats_server: NatsServer) -> None:
    """The lease counts from before the renewal was sent, by the holder's own clock."""
    async with working(nats_server) as shop:
        await eventually(lambda: shop.jobs.has_duties)
        nats_server.pause()
        try:
            await eventually(lambda: not shop.jobs.has_duties, within=LEASE)
        finally:
            nats_server.resume()


@pytest.mark.parametrize("denied", ["$JS.API.CONSUMER.CREATE.JOBS.>", "$KV.JOBS_KEYS_shop.>"])
async def test_an_account_without_the_rights_works_without_duties(
    denied: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="trellis_nats.jobs.maintenance")
    config = f"""
        authorization {{ users: [
            {{ user: worker, password: none, permissions: {{ publish: {{ deny: ["{denied}"] }} }} }},
        ] }}
    """
    with NatsServer(config=config) as server:
        url = server.url.replace("://", "://worker:none@")
        async with Shop.connect(url, options=Options(duties=DUTIES)) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                return Receipt(total=1)

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            assert await ref.result(timeout=SOON) == Receipt(total=1)
            told = await eventually(
                lambda: [each for each in caplog.records if "may not publish" in each.getMessage()]
            )

            assert len([each for each in told if each.name.endswith("duties.host")]) == 1
            assert not shop.jobs.has_duties
