"""Values of a bucket: written, read, compared and refused."""

import asyncio
from datetime import timedelta
from typing import cast

import pytest
from pydantic import JsonValue
from trellis_nats import (
    Entry,
    InvalidKey,
    InvalidPayload,
    KeyExists,
    PayloadTooLarge,
    RevisionMismatch,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.support.orders import Order, OrdersService

ORDER = Order(order_id="o1", total=3)


async def test_what_was_put_is_read_with_its_revision_and_time(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        written = await service.orders.put("o1", ORDER)
        entry = await service.orders.get("o1")

    assert written == Entry(key="o1", value=ORDER, revision=1)
    assert entry is not None
    assert (entry.key, entry.value, entry.revision) == ("o1", ORDER, 1)
    assert entry.created is not None
    assert abs(now() - entry.created) < timedelta(seconds=30)


async def test_a_value_is_stored_as_json_under_the_key_as_it_is(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        await service.orders.put("a/b=c.o-1", Order(order_id="o1"))
        connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
        answer = await request(
            connection,
            "$JS.API.DIRECT.GET.KV_orders-service_orders.$KV.orders-service_orders.a/b=c.o-1",
            timeout=timedelta(seconds=2),
        )
        await connection.close()

    assert answer.data == b'{"orderId":"o1"}'


async def test_a_key_without_a_value_has_no_entry(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        assert await service.orders.get("nothing") is None


async def test_a_bucket_without_a_schema_takes_any_json(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        values: list[JsonValue] = [None, 0, "text", [1, {"a": None}]]
        for value in values:
            await service.notes.put("n1", value)
            entry = await service.notes.get("n1")

            assert entry is not None
            assert entry.value == value


async def test_create_refuses_a_key_that_has_a_value(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        await service.orders.create("o1", ORDER)

        with pytest.raises(KeyExists, match='key "o1" of bucket "orders"'):
            await service.orders.create("o1", ORDER)


async def test_a_deleted_key_is_gone_and_can_be_created_again(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        await service.orders.create("o1", ORDER)
        await service.orders.delete("o1")
        gone = await service.orders.get("o1")
        created = await service.orders.create("o1", Order(order_id="o1", total=4))
        entry = await service.orders.get("o1")

    assert gone is None
    assert entry is not None
    assert (entry.value.total, entry.revision) == (4, created.revision)


async def test_one_of_many_that_create_a_key_wins(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        await service.orders.put("o1", ORDER)
        await service.orders.delete("o1")
        creates = (service.orders.create("o1", Order(order_id="o1", total=number)) for number in range(20))
        outcomes = await asyncio.gather(*creates, return_exceptions=True)
        entry = await service.orders.get("o1")

    (winner,) = (each for each in outcomes if isinstance(each, Entry))
    assert sum(isinstance(each, KeyExists) for each in outcomes) == 19
    assert entry is not None
    assert (entry.value, entry.revision) == (winner.value, winner.revision)


async def test_an_update_of_a_changed_key_is_refused(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        read = await service.orders.put("o1", ORDER)
        changed = await service.orders.update(read, Order(order_id="o1", total=5))

        with pytest.raises(
            RevisionMismatch, match='the key has changed since revision 1: key "o1" of bucket "orders"'
        ):
            await service.orders.update(read, Order(order_id="o1", total=6))
        entry = await service.orders.get("o1")

    assert entry is not None
    assert (entry.value.total, entry.revision) == (5, changed.revision)


async def test_increments_of_many_writers_are_all_counted(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        await service.orders.put("o1", Order(order_id="o1", total=0))

        async def increment() -> None:
            while True:
                entry = await service.orders.get("o1")
                if entry is None:
                    raise AssertionError
                try:
                    await service.orders.update(entry, Order(order_id="o1", total=entry.value.total + 1))
                except RevisionMismatch:
                    continue
                return

        await asyncio.gather(*(increment() for _ in range(15)))
        entry = await service.orders.get("o1")

    assert entry is not None
    assert entry.value.total == 15


async def test_a_delete_of_a_changed_key_is_refused(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        read = await service.orders.put("o1", ORDER)
        changed = await service.orders.put("o1", ORDER)

        with pytest.raises(RevisionMismatch):
            await service.orders.delete("o1", entry=read)
        with pytest.raises(ValueError, match='the entry belongs to key "o1", not to key "o2"'):
            await service.orders.delete("o2", entry=changed)
        await service.orders.delete("o1", entry=changed)

        assert await service.orders.get("o1") is None


async def test_deleting_a_key_without_a_value_is_harmless(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        await service.orders.delete("nothing")

        assert await service.orders.get("nothing") is None


@pytest.mark.parametrize("key", ["", "a b", "a.>", "*", "a..b", ".a"])
async def test_a_key_that_nats_does_not_allow_never_reaches_it(nats_server: NatsServer, key: str) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        with pytest.raises(InvalidKey):
            await service.orders.get(key)
        with pytest.raises(InvalidKey):
            await service.orders.put(key, ORDER)
        with pytest.raises(InvalidKey):
            await service.orders.create(key, ORDER)
        with pytest.raises(InvalidKey):
            await service.orders.delete(key)


async def test_a_stored_value_that_breaks_the_schema_is_named(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
        await publish_acked(
            connection, "$KV.orders-service_orders.o1", b'{"orderId":"secret","total":"many"}'
        )
        await connection.close()

        with pytest.raises(InvalidPayload, match=r'key "o1" of bucket "orders" .*#/total') as caught:
            await service.orders.get("o1")

    assert "secret" not in str(caught.value)
    assert "many" not in str(caught.value)


async def test_a_value_that_breaks_the_schema_or_the_limit_is_not_written(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        with pytest.raises(InvalidPayload, match=r'the value for bucket "orders" .*#/total'):
            await service.orders.put("o1", cast("Order", {"orderId": "o1", "total": "many"}))
        for size in (250, 1000):
            with pytest.raises(PayloadTooLarge):
                await service.notes.put("n1", "x" * size)

        assert await service.orders.get("o1") is None
        assert await service.notes.get("n1") is None
        assert await service.notes.put("n1", "x" * 150)


@pytest.mark.parametrize("headers", [{"KV-Operation": "PURGE"}, {"Nats-Marker-Reason": "MaxAge"}, {}])
async def test_a_marker_that_a_server_leaves_is_not_a_value(
    nats_server: NatsServer, headers: dict[str, str]
) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
        await publish_acked(connection, "$KV.orders-service_orders.o1", b"", headers=headers)
        await connection.close()

        assert await service.orders.get("o1") is None
        assert (await service.orders.create("o1", ORDER)).revision == 2
