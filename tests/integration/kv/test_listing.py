"""Keys, histories and changes of a bucket."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

import pytest
from trellis_nats import DeletedEntry, Entry, InvalidKey, InvalidPayload
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.orders import Order, OrdersService
from tests.support.proxy import Proxy

Change = Entry[Order] | DeletedEntry


async def take(changes: AsyncGenerator[Change, None], count: int) -> list[Change]:
    async with asyncio.timeout(20):
        return [await anext(changes) for _ in range(count)]


async def test_keys_are_those_that_have_a_value(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        assert await service.orders.keys() == []
        for key in ("b.2", "a.1", "b.1", "c"):
            await service.orders.put(key, Order(order_id=key))
        await service.orders.delete("c")
        await service.orders.put("a.1", Order(order_id="again"))

        assert await service.orders.keys() == ["a.1", "b.1", "b.2"]
        assert await service.orders.keys("b.*") == ["b.1", "b.2"]
        assert await service.orders.keys("b.>") == ["b.1", "b.2"]
        assert await service.orders.keys("a.1") == ["a.1"]
        assert await service.orders.keys("nothing") == []


async def test_thousands_of_keys_are_listed(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        for first in range(0, 2500, 250):
            await asyncio.gather(
                *(service.notes.put(f"n.{number}", number) for number in range(first, first + 250))
            )

        assert len(await service.notes.keys()) == 2500


@pytest.mark.parametrize("pattern", ["", "a..b", "a b", ">.a", "a.>b", "a.**", "$"])
async def test_a_malformed_pattern_is_refused(nats_server: NatsServer, pattern: str) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        with pytest.raises(InvalidKey, match="pattern"):
            await service.orders.keys(pattern)
        with pytest.raises(InvalidKey, match="pattern"):
            await anext(service.orders.watch(pattern))


async def test_the_history_of_a_key_has_its_deletions(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        assert await service.history.history("h") == []
        for total in (1, 2):
            await service.history.put("h", Order(order_id="h", total=total))
        await service.history.delete("h")
        await service.history.put("h", Order(order_id="h", total=3))
        history = await service.history.history("h")

    first, second, deleted, last = history
    assert isinstance(deleted, DeletedEntry)
    assert [entry.value.total for entry in (first, second, last) if isinstance(entry, Entry)] == [1, 2, 3]
    assert [entry.revision for entry in history] == [1, 2, 3, 4]


async def test_a_watch_begins_with_what_is_stored_and_goes_on_with_changes(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        await service.orders.put("a", Order(order_id="a", total=1))
        await service.orders.put("b", Order(order_id="b", total=1))
        await service.orders.put("a", Order(order_id="a", total=2))
        async with aclosing(service.orders.watch()) as changes:
            stored = await take(changes, 2)
            await service.orders.put("b", Order(order_id="b", total=2))
            await service.orders.delete("a")
            changed, deleted = await take(changes, 2)

    assert [(entry.key, entry.value.total) for entry in stored if isinstance(entry, Entry)] == [
        ("b", 1),
        ("a", 2),
    ]
    assert isinstance(changed, Entry)
    assert (changed.key, changed.value.total) == ("b", 2)
    assert isinstance(deleted, DeletedEntry)
    assert deleted.key == "a"


async def test_a_watch_may_be_of_some_keys(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        for key in ("x.1", "y.1", "x.2"):
            await service.orders.put(key, Order(order_id=key))
        async with aclosing(service.orders.watch("x.*")) as changes:
            assert [entry.key for entry in await take(changes, 2)] == ["x.1", "x.2"]


async def test_a_value_that_does_not_match_is_skipped_by_a_watch(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        raw = KvBucket(service.runtime.connection, "orders-service_orders")
        await raw.put("bad", b'{"orderId":5}')
        await service.orders.put("good", Order(order_id="good"))
        with LogSignals() as signals:
            async with aclosing(service.orders.watch()) as changes:
                (entry,) = await take(changes, 1)
            await signals.wait_for(LogEvent.VALUE_SKIPPED)
        with pytest.raises(InvalidPayload):
            await service.orders.history("bad")

    assert entry.key == "good"


async def test_a_watch_misses_no_newest_value_through_outages(nats_server: NatsServer) -> None:
    async with (
        Proxy(nats_server.port) as proxy,
        OrdersService.connect(nats_server.url) as writer,
        OrdersService.connect(proxy.url) as watcher,
    ):
        newest: dict[str, int] = {}

        async def watch() -> None:
            async for entry in watcher.orders.watch():
                if isinstance(entry, Entry):
                    assert entry.value.total > newest.get(entry.key, 0), "older than one before"
                    newest[entry.key] = entry.value.total
                if newest == {f"k{key}": 60 for key in range(5)}:
                    return

        watching = asyncio.create_task(watch())
        for total in range(1, 61):
            for key in range(5):
                await writer.orders.put(f"k{key}", Order(order_id=str(key), total=total))
            if total % 15 == 5:
                proxy.cut()
        await asyncio.wait_for(watching, timedelta(seconds=30).total_seconds())


async def test_many_watches_that_begin_at_once_do_not_cut_the_connection() -> None:
    lost: list[str] = []
    with NatsServer(config="max_pending: 16MB") as server:
        async with OrdersService.connect(server.url) as service:
            for number in range(32):
                await service.orders.put(f"k{number}", Order(order_id="x" * 8000))
            service.runtime.connection.on_disconnect(lambda: lost.append("lost"))

            async def count(changes: AsyncGenerator[Change, None]) -> int:
                async with aclosing(changes):
                    return len(await take(changes, 32))

            counts = await asyncio.gather(*(count(service.orders.watch()) for _ in range(150)))
            assert (set(counts), lost) == ({32}, [])


async def test_a_watch_begins_again_when_its_bucket_was_made_again(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service, aclosing(service.orders.watch()) as changes:
        stream = f"KV_{service.runtime.binding.kv['orders'].bucket}"
        for total in range(3):
            await service.orders.put("a", Order(order_id="a", total=total))
        await take(changes, 1)
        config = (await call(service.runtime.connection, f"STREAM.INFO.{stream}"))["config"]
        assert isinstance(config, dict)
        await call(service.runtime.connection, f"STREAM.DELETE.{stream}")
        await call(service.runtime.connection, f"STREAM.CREATE.{stream}", config)
        await service.orders.put("b", Order(order_id="b"))

        assert [change.key for change in await take(changes, 1)] == ["b"]


async def test_a_watch_continues_when_its_consumer_was_removed(nats_server: NatsServer) -> None:
    """As the server does when a slow reader asks for nothing for a minute."""
    async with OrdersService.connect(nats_server.url) as service:
        await service.orders.put("a", Order(order_id="a"))
        other = await Connection.open(nats_server.url, settings=ConnectionSettings())
        async with aclosing(service.orders.watch()) as changes:
            assert [entry.key for entry in await take(changes, 1)] == ["a"]
            answer = await call(other, "CONSUMER.NAMES.KV_orders-service_orders")
            match answer:
                case {"consumers": [str(name)]}:
                    await call(other, f"CONSUMER.DELETE.KV_orders-service_orders.{name}")
                case _:
                    raise AssertionError(answer)
            await service.orders.put("b", Order(order_id="b"))

            assert [entry.key for entry in await take(changes, 1)] == ["b"]
        await other.close()
