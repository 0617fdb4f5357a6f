"""Writes of events, values, objects and operations whose answer is lost, and whose repeats are refused: they may be stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest
from trellis_nats import WriteUnknown
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.files import FilesService
from tests.support.orders import Order, OrdersService, Shipped
from tests.support.processing import QUICK, ProcessInput, ProcessService, running
from tests.support.refusals import Refusal, RefusingProxy

ORDER: Final = Order(order_id="o1", total=1)
VALUES: Final = "$KV."
META: Final = "$O.files-service_files.M."
UNKNOWN: Final = "may have been stored"


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[RefusingProxy]:
    async with RefusingProxy(nats_server.port) as standing:
        yield standing


async def test_an_event_is_unknown(proxy: RefusingProxy) -> None:
    async with OrdersService.connect(proxy.url) as service:
        proxy.lose_then_refuse("events.", Refusal.FULL)
        with pytest.raises(WriteUnknown, match=UNKNOWN):
            await service.shipped.publish(Shipped(order_id="o1"))

        assert proxy.refused


async def test_a_value_is_found_or_unknown(proxy: RefusingProxy) -> None:
    async with OrdersService.connect(proxy.url) as service:
        proxy.lose_then_refuse(VALUES, Refusal.FULL)
        created = await service.orders.create("o1", ORDER)
        assert proxy.refused
        proxy.lose_then_refuse(VALUES, Refusal.DENIED)
        updated = await service.orders.update(created, ORDER)
        assert (updated.revision, proxy.refused != []) == (created.revision + 1, True)

        for write in (
            lambda: service.orders.put("o1", ORDER),
            lambda: service.orders.create("o2", ORDER),
            lambda: service.orders.update(updated, ORDER),
            lambda: service.orders.delete("o1"),
        ):
            proxy.lose_then_refuse(VALUES, Refusal.FULL, refused=[VALUES, "$JS.API.STREAM.MSG.GET."])
            with pytest.raises(WriteUnknown, match=UNKNOWN):
                await write()
            assert proxy.refused
            proxy.accept()


async def test_an_object_is_found_or_unknown(proxy: RefusingProxy) -> None:
    async with FilesService.connect(proxy.url) as service:
        proxy.lose_then_refuse(META, Refusal.FULL)
        await service.files.put("a", b"one")
        assert proxy.refused
        proxy.lose_then_refuse(META, Refusal.FULL, refused=[META, "$JS.API.STREAM.MSG.GET."])
        with pytest.raises(WriteUnknown, match=UNKNOWN):
            await service.files.put("b", b"two")
        assert proxy.refused
        proxy.accept()

        stored = await service.files.get("b")
        assert stored is not None
        assert await stored.read() == b"two", "the chunks of what may be visible stay"


async def test_a_change_of_an_operation_is_unknown(proxy: RefusingProxy, nats_server: NatsServer) -> None:
    async with (
        running(nats_server.url, options=QUICK) as (_, process, client),
        ProcessService.connect(proxy.url) as other,
    ):
        run = await client.process.start(ProcessInput(order_id="o1"))
        await eventually(lambda: run.id in process.operations)
        reads = ["$JS.API.STREAM.MSG.GET.", "$JS.API.DIRECT.GET."]
        proxy.lose_then_refuse(VALUES, Refusal.NO_STREAM, refused=reads)
        with pytest.raises(WriteUnknown, match=UNKNOWN):
            await other.process.ref(run.id).cancel()

        assert proxy.refused
        await asyncio.wait_for(process.operations[run.id].cancelled.wait(), 10)
