"""Is our JetStream layer faster than nats-py's own helpers, and awake sooner after a restart?

One process and one server with file storage, 200-byte messages. In each round both columns run after one another on
servers of their own; the ratio is taken round by round.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout
from nats.js.client import JetStreamContext
from rich.console import Console
from rich.table import Table
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import PubAck, publish_acked
from trellis_nats._nats.jetstream.pull import Delivery, Pull
from trellis_nats._nats.jetstream.streams import create_consumer, create_stream
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.testing import NatsServer

MESSAGES = 20_000
ROUNDS = 3
WINDOW = 1_000
BATCH = 500
BODY = b"x" * 200
SUBJECT = "bench.one"


async def prepared(server: NatsServer) -> Connection:
    """Connect, and make the stream and the consumer that both columns use."""
    connection = await Connection.open(server.url, settings=ConnectionSettings(name="bench"))
    await create_stream(connection, {"name": "BENCH", "subjects": ["bench.>"], "storage": "file"})
    config = {"durable_name": "work", "filter_subject": SUBJECT, "ack_policy": "explicit"}
    await create_consumer(connection, "BENCH", {**config, "max_ack_pending": 10_000})
    return connection


async def helpers(server: NatsServer) -> tuple[Client, JetStreamContext]:
    """Connect with nats-py alone."""
    client = Client()
    await client.connect(server.url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    return client, client.jetstream()  # pyright: ignore[reportUnknownMemberType] - likewise


async def publish_ours(server: NatsServer) -> float:
    """Publish through the window; messages per second."""
    connection = await prepared(server)
    began = time.perf_counter()
    await fill(connection)
    taken = time.perf_counter() - began
    await connection.close()
    return MESSAGES / taken


async def fill(connection: Connection) -> None:
    """Publish all messages, a window at a time under way."""
    window: deque[asyncio.Future[PubAck]] = deque()
    for _ in range(MESSAGES):
        if len(window) == WINDOW:
            await window.popleft()
        window.append(asyncio.create_task(publish_acked(connection, SUBJECT, BODY)))
    await asyncio.gather(*window)


async def publish_theirs(server: NatsServer) -> float:
    """Publish with `publish_async`; messages per second."""
    await (await prepared(server)).close()
    client, stream = await helpers(server)
    began = time.perf_counter()
    window: deque[Awaitable[object]] = deque()
    for _ in range(MESSAGES):
        if len(window) == WINDOW:
            await window.popleft()
        window.append(await stream.publish_async(SUBJECT, BODY))  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    await asyncio.gather(*window)
    taken = time.perf_counter() - began
    await client.close()
    return MESSAGES / taken


async def pull_ours(server: NatsServer) -> float:
    """Pull and acknowledge with the engine; messages per second."""
    connection = await prepared(server)
    await fill(connection)
    done, left = asyncio.Event(), MESSAGES
    pull: Pull

    def take(message: Delivery) -> None:
        nonlocal left
        connection.send(message.reply, b"+ACK")
        left -= 1
        pull.set_capacity(BATCH)
        if left == 0:
            done.set()

    pull = Pull(connection, stream="BENCH", consumer="work", deliver=take)
    began = time.perf_counter()
    pull.start()
    pull.set_capacity(BATCH)
    await done.wait()
    await connection.flush()
    taken = time.perf_counter() - began
    await pull.stop()
    await connection.close()
    return MESSAGES / taken


async def pull_theirs(server: NatsServer) -> float:
    """Pull with `fetch` and acknowledge; messages per second."""
    connection = await prepared(server)
    await fill(connection)
    await connection.close()
    client, stream = await helpers(server)
    subscription = await stream.pull_subscribe_bind("work", stream="BENCH")
    began, left = time.perf_counter(), MESSAGES
    while left:
        for message in await subscription.fetch(BATCH, timeout=5):
            await message.ack()
            left -= 1
    await client.flush()
    taken = time.perf_counter() - began
    await client.close()
    return MESSAGES / taken


async def restarted(server: NatsServer) -> float:
    """Kill the server, start it again, store a message; return the instant at which it was stored."""
    server.kill()
    server.restart()
    connection = await Connection.open(server.url, settings=ConnectionSettings(name="bench"))
    await publish_acked(connection, SUBJECT, BODY)
    stored = time.perf_counter()
    await connection.close()
    return stored


async def awake_ours(server: NatsServer) -> float:
    """Seconds from the first stored message after a restart to its delivery by the engine."""
    connection = await prepared(server)
    arrived: asyncio.Queue[float] = asyncio.Queue()
    pull = Pull(
        connection,
        stream="BENCH",
        consumer="work",
        deliver=lambda _: arrived.put_nowait(time.perf_counter()),
    )
    pull.start()
    pull.set_capacity(1)
    await connection.flush()
    stored = await restarted(server)
    delivered = await arrived.get()
    await pull.stop()
    await connection.close()
    return max(0.0, delivered - stored)


async def awake_theirs(server: NatsServer) -> float:
    """Do the same with `fetch(1, timeout=5)` in a loop, the usual way to write a worker."""
    await (await prepared(server)).close()
    client, stream = await helpers(server)
    subscription = await stream.pull_subscribe_bind("work", stream="BENCH")

    async def worker() -> float:
        while True:
            try:
                await subscription.fetch(1, timeout=5)
            except NatsTimeout:
                continue
            return time.perf_counter()

    working = asyncio.create_task(worker())
    await client.flush()
    stored = await restarted(server)
    delivered = await working
    await client.close()
    return max(0.0, delivered - stored)


async def measured(measure: Callable[[NatsServer], Awaitable[float]]) -> float:
    """Measure once on a server of its own."""
    with NatsServer() as server:
        return await measure(server)


async def main() -> None:
    """Print the table."""
    table = Table(title=f"{MESSAGES} messages of 200 bytes, medians of {ROUNDS} rounds")
    for column in ("what", "ours", "nats-py's helper", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, unit, ours, theirs in (
        ("publish, acknowledged", "/s", publish_ours, publish_theirs),
        ("pull and acknowledge", "/s", pull_ours, pull_theirs),
        ("awake after a restart", " s", awake_ours, awake_theirs),
    ):
        rounds = [(await measured(ours), await measured(theirs)) for _ in range(ROUNDS)]
        mine, other = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(a / b for a, b in rounds)
        digits = ".2f" if unit == " s" else ",.0f"
        table.add_row(name, f"{mine:{digits}}{unit}", f"{other:{digits}}{unit}", f"{ratio:.2f}")
    console = Console()
    console.print(table)
    console.print(f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}")


if __name__ == "__main__":
    asyncio.run(main())
