"""A worker of the work queue: its capacity, and the pull loop that uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.pull import Delivery, Pull, PullState
from trellis_nats._nats.jetstream.streams import get_consumer_info

from tests.support.work_queue import CONSUMER, STREAM

HEARTBEAT = timedelta(milliseconds=200)
"""A tenth of the default, so that silence is noticed within a test."""


class Capacity:
    """A worker's capacity: what it has received and not finished, and what was ever delivered."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Delivery] = asyncio.Queue()
        self.names: list[str] = []

    def take(self, message: Delivery) -> None:
        """Receive a message."""
        self.names.append(message.data.decode())
        self.arrived.put_nowait(message)

    async def next(self, within: float = 5.0) -> Delivery:
        """Wait for the next message, for at most `within` seconds."""
        async with asyncio.timeout(within):
            return await self.arrived.get()


@asynccontextmanager
async def pulling(
    connection: Connection,
    capacity: Capacity,
    free: int,
    *,
    expires: timedelta = timedelta(seconds=30),
    idle_heartbeat: timedelta = HEARTBEAT,
    on_state: Callable[[PullState], None] | None = None,
    accept: Callable[[ConsumerInfo], str | None] | None = None,
) -> AsyncGenerator[Pull, None]:
    """Pull messages; `free` is how many the worker takes at the start."""
    pull = Pull(
        connection,
        stream=STREAM,
        consumer=CONSUMER,
        deliver=capacity.take,
        expires=expires,
        idle_heartbeat=idle_heartbeat,
        on_state=on_state,
        accept=accept,
    )
    pull.start()
    pull.set_capacity(free)
    try:
        yield pull
    finally:
        await pull.stop()


async def in_hand(connection: Connection) -> int:
    """Return how many messages the server counts as delivered and not answered."""
    info = await get_consumer_info(connection, STREAM, CONSUMER)
    assert info is not None
    return info.ack_pending


async def has_in_hand(connection: Connection, count: int) -> bool:
    """Return whether `count` messages are delivered and not acknowledged."""
    return await in_hand(connection) == count
