"""One instance at a time is the leader of a service."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from time import monotonic
from typing import Final

import pytest
from trellis_nats import Maintenance, Options
from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats._support.log_events import LogEvent
from trellis_nats.jobs.maintenance.leader_lease import LEASE_KEY
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.lost_work import connection_of, has_work, purge_work
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.shop_process import shop_process

SOON: Final = timedelta(seconds=10)
LEASE: Final = timedelta(milliseconds=600)
MAINTENANCE: Final = Maintenance(
    lease=LEASE, rescue_every=timedelta(milliseconds=20), lost_after=timedelta(0), purge_every=None
)


@asynccontextmanager
async def working(server: NatsServer, maintenance: Maintenance = MAINTENANCE) -> AsyncGenerator[Shop, None]:
    async with Shop.connect(server.url, options=Options(maintenance=maintenance)) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        yield shop


async def test_one_of_several_instances_is_the_leader(nats_server: NatsServer) -> None:
    async with AsyncExitStack() as stack:
        shops = [await stack.enter_async_context(working(nats_server)) for _ in range(4)]
        await eventually(lambda: any(shop.jobs.is_leader for shop in shops))

        until = monotonic() + 2 * LEASE.total_seconds()
        most = 0

        async def has_watched() -> bool:
            nonlocal most
            most = max(most, sum(shop.jobs.is_leader for shop in shops))
            return monotonic() > until

        await eventually(has_watched)
        assert most == 1


async def test_the_leader_rescues_a_lost_job_automatically(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as creator:
        ref = await creator.jobs.pack.create(Parcel(number=1))
        await purge_work(creator, 1)
        async with working(nats_server):
            assert await ref.result(timeout=SOON) == Receipt(total=1)
            await eventually(lambda: has_work(creator, 0))


async def test_a_leader_that_stops_releases_its_lease(nats_server: NatsServer) -> None:
    length = timedelta(minutes=1)
    quick = Maintenance(lease=timedelta(seconds=1.2), rescue_every=MAINTENANCE.rescue_every, purge_every=None)
    slow = Maintenance(lease=length, rescue_every=MAINTENANCE.rescue_every, purge_every=None)
    async with working(nats_server, slow) as first:
        await eventually(lambda: first.jobs.is_leader)
        async with working(nats_server, quick) as second:
            await first.stop()
            assert not first.jobs.is_leader
            await eventually(lambda: second.jobs.is_leader)


async def test_the_lease_of_a_killed_leader_expires(nats_server: NatsServer) -> None:
    async with (
        shop_process(nats_server.url, lease=LEASE) as holder,
        Shop.connect(nats_server.url) as watcher,
    ):
        bucket = KvBucket(connection_of(watcher), "JOBS_KEYS_shop")
        first = await eventually(lambda: bucket.get(LEASE_KEY))
        async with working(nats_server) as heir:
            await eventually(lambda: is_renewed(bucket, first))
            assert not heir.jobs.is_leader, "the leader is alive"
            holder.process.kill()
            await eventually(lambda: heir.jobs.is_leader)


async def is_renewed(bucket: KvBucket, before: KvRecord | None) -> bool:
    record = await bucket.get(LEASE_KEY)
    return record is not None and before is not None and record.revision > before.revision


async def test_maintenance_continues_after_an_outage(nats_server: NatsServer) -> None:
    async with working(nats_server) as shop:
        await eventually(lambda: shop.jobs.is_leader)
        nats_server.kill()
        await eventually(lambda: not shop.jobs.is_leader)
        nats_server.restart()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        await eventually(lambda: shop.jobs.is_leader)
        assert await ref.result(timeout=SOON) == Receipt(total=1)


async def test_a_leader_that_is_cut_off_notices_the_end_of_its_lease(nats_server: NatsServer) -> None:
    """The lease counts from before the renewal was sent, by the holder's own clock."""
    async with working(nats_server) as shop:
        await eventually(lambda: shop.jobs.is_leader)
        nats_server.pause()
        try:
            await eventually(lambda: not shop.jobs.is_leader)
        finally:
            nats_server.resume()


@pytest.mark.parametrize("denied", ["$JS.API.CONSUMER.CREATE.JOBS.>", "$KV.JOBS_KEYS_shop.>"])
async def test_an_account_without_the_permissions_works_without_maintenance(
    denied: str,
) -> None:
    config = f"""
        authorization {{ users: [
            {{ user: worker, password: none, permissions: {{ publish: {{ deny: ["{denied}"] }} }} }},
        ] }}
    """
    with NatsServer(config=config) as server, LogSignals() as signals:
        url = server.url.replace("://", "://worker:none@")
        async with Shop.connect(url, options=Options(maintenance=MAINTENANCE)) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                return Receipt(total=1)

            await shop.jobs.start_workers()
            ref = await shop.jobs.pack.create(Parcel(number=1))
            assert await ref.result(timeout=SOON) == Receipt(total=1)
            off = await signals.wait_for(LogEvent.MAINTENANCE_OFF)

            assert "may not publish" in off.getMessage()
            assert len(signals.of(LogEvent.MAINTENANCE_OFF)) == 1
            assert not shop.jobs.is_leader
