"""Losing the work messages of the shop, in the ways in which servers and operators lose them."""

from __future__ import annotations

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject, call
from trellis_nats._nats.jetstream.streams import (
    create_consumer,
    create_stream,
    get_consumer_info,
    get_stream_info,
)

from tests.support.eventually import eventually
from tests.support.shop import Shop

STREAM = "JOBS_WORK"


def connection_of(shop: Shop) -> Connection:
    """Return the connection of a shop."""
    return shop.jobs.runtime.connection


async def count_work_messages(shop: Shop) -> int:
    """Count the messages of the work stream."""
    match await get_stream_info(connection_of(shop), STREAM):
        case {"state": {"messages": int(messages)}}:
            return messages
        case answer:
            raise AssertionError(f"no work stream: {answer}")


async def has_work(shop: Shop, count: int) -> bool:
    """Return whether the work stream has `count` messages."""
    return await count_work_messages(shop) == count


async def purge_work(shop: Shop, sourced: int) -> None:
    """Purge the work stream, once it has sourced `sourced` messages."""

    async def are_sourced() -> bool:
        return await count_work_messages(shop) >= sourced

    await eventually(are_sourced)
    await call(connection_of(shop), f"STREAM.PURGE.{STREAM}")


async def detach_work(shop: Shop) -> None:
    """Remove the source of the work stream."""
    config = _config(await get_stream_info(connection_of(shop), STREAM))
    detached: JsonObject = {name: value for name, value in config.items() if name != "sources"}
    await call(connection_of(shop), f"STREAM.UPDATE.{STREAM}", detached)


async def recreate_work(shop: Shop) -> None:
    """Delete the work stream, and create it and its consumer again."""
    connection = connection_of(shop)
    stream = _config(await get_stream_info(connection, STREAM))
    consumer = await get_consumer_info(connection, STREAM, "shop__pack")
    assert consumer is not None
    await call(connection, f"STREAM.DELETE.{STREAM}")
    await create_stream(connection, stream)
    await create_consumer(connection, STREAM, consumer.config)


def _config(info: JsonObject | None) -> JsonObject:
    config = None if info is None else info.get("config")
    if not isinstance(config, dict):
        raise AssertionError(f"it does not exist: {info}")  # noqa: TRY004 - it is the test that fails
    return config
