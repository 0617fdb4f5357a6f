"""Starting the workers and starting the service, in either order."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import ConfigurationError, NoResponders, RpcEndpoint, Runtime
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.orders import (
    ORDERS_CREATE,
    REQUEST,
    CreateRequest,
    CreateResponse,
    OrdersClient,
    greet,
)
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON = timedelta(seconds=20)


class ServingShop(Shop):
    """A shop that also serves a procedure."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.create: Final = RpcEndpoint[CreateRequest, CreateResponse](runtime, ORDERS_CREATE)
        self.create.handle(greet)
        self.jobs.pack.handle(pack)


async def pack(job: ParcelJob) -> Receipt:
    return Receipt(total=job.payload.number)


async def works(shop: Shop) -> None:
    ref = await shop.jobs.pack.create(Parcel(number=7))
    assert await ref.result(timeout=SOON) == Receipt(total=7)


async def serves(client: OrdersClient) -> bool:
    with suppress(NoResponders):
        return bool(await client.create(REQUEST))
    return False


async def test_a_service_with_running_workers_starts_to_serve(nats_server: NatsServer) -> None:
    async with (
        ServingShop.connect(nats_server.url) as shop,
        OrdersClient.connect(nats_server.url) as client,
    ):
        host = await shop.jobs.start_workers()
        await works(shop)
        assert not await serves(client)

        await shop.start()
        assert await serves(client)
        await works(shop)

        await host.stop()
        assert await serves(client), "the host stops the workers only"
        assert (await shop.health.report()).ready
        await shop.stop()
        assert not await serves(client)


async def test_run_goes_on_from_running_workers(nats_server: NatsServer) -> None:
    async with (
        ServingShop.connect(nats_server.url) as shop,
        OrdersClient.connect(nats_server.url) as client,
    ):
        host = await shop.jobs.start_workers()
        running = asyncio.create_task(shop.run())
        await eventually(lambda: serves(client))
        await works(shop)
        await host.stop()
        assert not running.done()
        running.cancel()
        await asyncio.wait((running,))
        assert running.cancelled()


async def test_a_second_start_is_refused_and_stops_nothing(nats_server: NatsServer) -> None:
    async with (
        ServingShop.connect(nats_server.url) as shop,
        OrdersClient.connect(nats_server.url) as client,
    ):
        await shop.start()
        for start in (shop.start, shop.run, shop.jobs.start_workers):
            with pytest.raises(ConfigurationError, match=r"started already|run already"):
                await start()
        assert await serves(client)
        await works(shop)

        await shop.stop()
        await shop.start()
        await works(shop)
