"""A service rejects what NATS lets the account of another service send to it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_consumer_info, get_last_message
from trellis_nats._nats.link.settings import ConnectionSettings

from tests.support.depot import Depot, login, standing
from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.versions import VERSIONS


# From 2.15 on, no client may write this header.
@pytest.mark.parametrize(("version", "source"), [(None, None), (VERSIONS[-1], "JOBS 0")])
async def test_work_that_a_neighbour_forges_is_not_run(version: str | None, source: str | None) -> None:
    """It may not publish there, but it may name the subject as a reply subject, and the stream stores the answer."""
    role = "worker"
    settings = ConnectionSettings(user=role, password=role, inbox_prefix="_INBOX_depot")
    async with (
        standing(version=version) as server,
        Depot.connect(server.url, options=login("root")) as depot,
        Shop.connect(server.url, options=login("root")) as shop,
    ):
        ran: list[str] = []

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            ran.append(job.id)
            return Receipt(total=1)

        ref = await depot.jobs.pack.create(Parcel(number=1))
        attacker = await Connection.open(server.url, settings=settings)
        stored = await get_last_message(attacker, "JOBS", f"trellis.jobs.depot.pack.{ref.id}.>")
        assert stored is not None
        body = stored.data.replace(ref.id.encode(), b"FORGED")
        headers = {} if source is None else {"Nats-Stream-Source": source}
        await publish_acked(attacker, "trellis.jobs.depot.pack.FORGED.created", body, headers=headers)

        attacker.send(
            "$JS.API.DIRECT.GET.JOBS.trellis.jobs.depot.pack.FORGED.created",
            b"",
            reply="trellis.work.shop.pack",
        )
        await attacker.flush()

        async def is_stored() -> bool:
            info = await get_consumer_info(connection_of(shop), "JOBS_WORK", "shop__pack")
            return info is not None and info.pending == 1

        await eventually(is_stored)
        await shop.jobs.start_workers()
        real = await shop.jobs.pack.create(Parcel(number=2))
        assert await real.result(timeout=timedelta(seconds=10)) == Receipt(total=1)

        async def is_gone() -> bool:
            info = await get_consumer_info(connection_of(shop), "JOBS_WORK", "shop__pack")
            return info is not None and info.pending == 0 and info.ack_pending == 0

        await eventually(is_gone, within=timedelta(seconds=15))
        assert ran == [real.id]
        await attacker.close()


def connection_of(shop: Shop) -> Connection:
    return shop.jobs.runtime.connection
