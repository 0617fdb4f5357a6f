"""Writes to a bucket whose acknowledgement does not come."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from trellis_nats import Options, WriteUnknown
from trellis_nats.testing import NatsServer

from tests.support.orders import Order, OrdersService
from tests.support.proxy import Proxy

ORDER = Order(order_id="o1", total=1)
QUICK = Options(request_timeout=timedelta(milliseconds=200))


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[Proxy]:
    async with Proxy(nats_server.port) as standing:
        yield standing


@pytest.fixture
async def other(nats_server: NatsServer) -> AsyncIterator[OrdersService]:
    """The same service, on an undisturbed connection."""
    async with OrdersService.connect(nats_server.url) as connected:
        yield connected


@pytest.fixture
async def service(proxy: Proxy, other: OrdersService) -> AsyncIterator[OrdersService]:
    async with OrdersService.connect(proxy.url, options=QUICK) as connected:
        yield connected


async def healed(proxy: Proxy, *, after: float) -> None:
    await asyncio.sleep(after)
    proxy.heal()


async def test_a_create_whose_answer_was_lost_is_recognised_as_its_own(
    proxy: Proxy, service: OrdersService, other: OrdersService
) -> None:
    proxy.blackhole("to_client")

    _, created = await asyncio.gather(healed(proxy, after=0.3), service.orders.create("o1", ORDER))

    entry = await other.orders.get("o1")
    assert entry is not None
    assert (entry.value, entry.revision) == (ORDER, created.revision)
    assert bytes(proxy.sent_to_server).count(b'{"orderId":"o1"') > 1


async def test_an_update_whose_answer_was_lost_is_recognised_as_its_own(
    proxy: Proxy, service: OrdersService, other: OrdersService
) -> None:
    read = await service.orders.put("o1", ORDER)
    proxy.blackhole("to_client")

    _, updated = await asyncio.gather(
        healed(proxy, after=0.3), service.orders.update(read, Order(order_id="o1", total=2))
    )

    entry = await other.orders.get("o1")
    assert entry is not None
    assert (entry.value.total, entry.revision) == (2, updated.revision)
    assert updated.revision == read.revision + 1


async def test_a_put_whose_answers_were_all_lost_is_found_by_looking(
    proxy: Proxy, service: OrdersService
) -> None:
    proxy.blackhole("to_client")

    _, written = await asyncio.gather(healed(proxy, after=0.7), service.orders.put("o1", ORDER))

    assert written.revision == 1


async def test_a_write_that_may_be_overwritten_is_unknown(
    proxy: Proxy, service: OrdersService, other: OrdersService
) -> None:
    read = await service.orders.put("o1", ORDER)
    proxy.blackhole("to_client")
    updating = asyncio.create_task(service.orders.update(read, Order(order_id="o1", total=2)))
    await asyncio.sleep(0.1)
    await other.orders.put("o1", Order(order_id="o1", total=3))
    proxy.heal()
    proxy.cut()

    with pytest.raises(WriteUnknown, match="may have been stored"):
        await updating


async def test_a_write_that_is_never_answered_is_unknown(proxy: Proxy, service: OrdersService) -> None:
    proxy.blackhole("to_client")

    with pytest.raises(WriteUnknown, match=r"\$KV.orders-service_orders.o1"):
        await service.orders.put("o1", ORDER)
    proxy.heal()
