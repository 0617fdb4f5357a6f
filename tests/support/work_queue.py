"""A work stream with one durable consumer, as small as it can be."""

from __future__ import annotations

from datetime import timedelta

from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import create_consumer, create_stream
from trellis_nats.clock import to_nanoseconds

STREAM = "WORK"
CONSUMER = "workers"
SUBJECT = "work.a"


async def create_work_queue(connection: Connection, *, ack_wait: timedelta = timedelta(seconds=30)) -> None:
    """Create the stream and its consumer."""
    await create_work_stream(connection)
    await create_work_consumer(connection, ack_wait=ack_wait)


async def create_work_stream(connection: Connection) -> None:
    """Create the stream alone."""
    await create_stream(connection, {"name": STREAM, "subjects": ["work.>"], "retention": "workqueue"})


async def create_work_consumer(
    connection: Connection, *, ack_wait: timedelta = timedelta(seconds=30)
) -> None:
    """Create the consumer alone."""
    config: dict[str, JsonValue] = {
        "durable_name": CONSUMER,
        "filter_subject": SUBJECT,
        "ack_policy": "explicit",
        "ack_wait": to_nanoseconds(ack_wait),
    }
    await create_consumer(connection, STREAM, config)


async def add_work(connection: Connection, *names: str) -> None:
    """Store one message for each name."""
    for name in names:
        await publish_acked(connection, SUBJECT, name.encode())
