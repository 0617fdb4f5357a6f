"""What an operator, or a mistake of one, does to the streams and consumers of the mill while workers are at work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject, call
from trellis_nats._nats.jetstream.streams import (
    create_consumer,
    create_stream,
    delete_consumer,
    get_consumer_info,
    get_stream_info,
)
from trellis_nats.clock import timestamp

from tests.faults.harness.dump import number_at

__all__ = [
    "CONSUMER",
    "attach_work",
    "change_stream",
    "consumer_config",
    "count_work_messages",
    "delete_stream",
    "detach_work",
    "pause_consumer",
    "purge_work",
    "recreate_work",
    "replace_consumer",
    "stream_config",
]

CONSUMER: Final = "mill__grind"
"""Of the mill's queue `grind`."""
_WORK: Final = "JOBS_WORK"


async def stream_config(connection: Connection, stream: str) -> JsonObject:
    """Return how a stream is configured."""
    return _config(await get_stream_info(connection, stream))


async def consumer_config(connection: Connection) -> JsonObject:
    """Return how the queue's consumer is configured."""
    info = await get_consumer_info(connection, _WORK, CONSUMER)
    assert info is not None
    return dict(info.config)


async def change_stream(connection: Connection, stream: str, **changes: JsonValue) -> None:
    """Change a stream's configuration."""
    await call(connection, f"STREAM.UPDATE.{stream}", {**await stream_config(connection, stream), **changes})


async def delete_stream(connection: Connection, stream: str) -> JsonObject:
    """Delete a stream with all that it holds, and return how it was configured."""
    config = await stream_config(connection, stream)
    await call(connection, f"STREAM.DELETE.{stream}")
    return config


async def count_work_messages(connection: Connection) -> int:
    """Count the messages of the work stream."""
    return number_at(await get_stream_info(connection, _WORK), "state", "messages")


async def purge_work(connection: Connection) -> int:
    """Purge the work of all queues, and return how many messages it was."""
    answer = await call(connection, f"STREAM.PURGE.{_WORK}")
    return number_at(answer, "purged")


async def detach_work(connection: Connection) -> JsonValue:
    """Let nothing more come to the work stream, and return its sources."""
    config = await stream_config(connection, _WORK)
    sources = config.pop("sources")
    await call(connection, f"STREAM.UPDATE.{_WORK}", config)
    return sources


async def attach_work(connection: Connection, sources: JsonValue) -> None:
    """Let the work stream take from its sources again."""
    await change_stream(connection, _WORK, sources=sources)


async def recreate_work(connection: Connection) -> None:
    """Delete the work stream with its consumer, and create both again: the server replays the whole history."""
    consumer = await consumer_config(connection)
    await create_stream(connection, await delete_stream(connection, _WORK))
    await create_consumer(connection, _WORK, consumer)


async def replace_consumer(connection: Connection, **changes: JsonValue) -> None:
    """Delete the queue's consumer, and create it again, with some of its configuration changed."""
    config = {**await consumer_config(connection), **changes}
    await delete_consumer(connection, _WORK, CONSUMER)
    await create_consumer(connection, _WORK, config)


async def pause_consumer(connection: Connection, length: timedelta) -> None:
    """Let the queue's consumer deliver nothing for a while; zero ends it."""
    until = timestamp(datetime.now(UTC) + length)
    await call(connection, f"CONSUMER.PAUSE.{_WORK}.{CONSUMER}", {"pause_until": until})


def _config(info: JsonObject | None) -> JsonObject:
    config = None if info is None else info.get("config")
    if not isinstance(config, dict):
        raise AssertionError(f"it does not exist: {info}")  # noqa: TRY004 - it is the test that fails
    return config
