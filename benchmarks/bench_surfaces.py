"""How fast are RPCs, events, feeds and stores, compared with nats-py alone?

Each figure is of one process, on a server of its own with file storage; the two take turns in each round, and ratios are taken
round by round. What nats-py alone leaves out: it validates nothing, and its calls echo bytes that no code reads. In another
column a service by hand validates with the same pydantic models on both sides.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Final, cast

from machine import describe_machine  # type: ignore[import-not-found]  # a neighbour, which scripts find
from nats.aio.client import Client
from nats.js.client import JetStreamContext
from peers.calls_workload import CallRates  # type: ignore[import-not-found]  # likewise
from peers.columns import PEERS_PYTHON  # type: ignore[import-not-found]  # likewise
from rich.console import Console
from rich.table import Table
from trellis_nats import (
    RUNTIME_API,
    ConsumerGroup,
    Contract,
    DeliveredEvent,
    EventPublisher,
    EventSpec,
    FeedCall,
    FeedContext,
    FeedEndpoint,
    FeedSpec,
    GroupEvent,
    GroupSpec,
    Model,
    Runtime,
    Service,
    Store,
    StoreSpec,
)
from trellis_nats.testing import NatsServer

ROUNDS: Final = 3
CALLS: Final = {1: 2_000, 16: 8_000, 256: 12_000}
"""Calls for each concurrency."""
EVENTS: Final = 5_000
IN_FLIGHT: Final = 64
HANDLERS: Final = 16
FRAMES: Final = 100_000
OBJECT_BYTES: Final = 32 * 1024 * 1024
PEERS: Final = Path(__file__).parent / "peers"
TEXT: Final = "x" * 150


class Note(Model):
    """An event, and a frame, of about 180 bytes."""

    number: int
    text: str


NOTED: Final = EventSpec(name="Bench.Noted", subject="events.v1.Bench.Noted", event=Note)
NOTES: Final = FeedSpec(name="Bench.Notes", subject="feeds.v1.Bench.Notes", input=Note, event=Note)


class Notes(ConsumerGroup):
    """The group."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, GroupSpec(name="notes", replay="all", concurrency=HANDLERS))
        self.noted: Final = GroupEvent[Note](self, NOTED)


class Bench(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="bench@v1", digest="b" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.noted: Final = EventPublisher[Note](runtime, NOTED)
        self.group: Final = Notes(runtime)
        self.notes: Final = FeedEndpoint[Note, Note](runtime, NOTES)
        self.open_notes: Final = FeedCall[Note, Note](runtime, NOTES)
        self.files: Final = Store(runtime, StoreSpec(name="files"))


@asynccontextmanager
async def alone(server: NatsServer) -> AsyncGenerator[tuple[Client, JetStreamContext]]:
    """Connect with nats-py alone."""
    client = Client()
    await client.connect(server.url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    try:
        yield client, client.jetstream()  # pyright: ignore[reportUnknownMemberType] - likewise
    finally:
        await client.close()


async def spread(publish: Callable[[int], Awaitable[object]]) -> float:
    """Publish all events, so many at a time; seconds."""
    numbers = iter(range(EVENTS))

    async def publisher() -> None:
        for number in numbers:
            await publish(number)

    began = time.perf_counter()
    await asyncio.gather(*(publisher() for _ in range(IN_FLIGHT)))
    return time.perf_counter() - began


# --- events ------------------------------------------------------------------------------------------------------------


async def publish_ours(server: NatsServer) -> float:
    """Publish events; each await returns when the event is stored. Events per second."""
    async with Bench.connect(server.url) as service:
        seconds = await spread(lambda number: service.noted.publish(Note(number=number, text=TEXT)))
    return EVENTS / seconds


async def publish_alone(server: NatsServer) -> float:
    """Publish the same bytes with `js.publish` and a message id."""
    async with alone(server) as (_, stream):
        await stream.add_stream(name="trellis", subjects=["events.>"])  # pyright: ignore[reportUnknownMemberType] - likewise
        seconds = await spread(
            lambda number: stream.publish(
                NOTED.subject,
                json.dumps({"number": number, "text": TEXT}).encode(),
                headers={"Nats-Msg-Id": str(number)},
            )
        )
    return EVENTS / seconds


async def consume_ours(server: NatsServer) -> float:
    """Handle events in a group, each acknowledged with a confirmation. Events per second."""
    done = asyncio.Event()
    left = EVENTS

    async def handle(event: DeliveredEvent[Note]) -> None:  # noqa: ARG001 - the handler's signature
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    async with Bench.connect(server.url) as service:
        await spread(lambda number: service.noted.publish(Note(number=number, text=TEXT)))
        service.group.noted.handle(handle)
        began = time.perf_counter()
        await service.start()
        await done.wait()
        return EVENTS / (time.perf_counter() - began)


async def consume_alone(server: NatsServer) -> float:
    """Fetch the same events, and acknowledge each with `ack_sync`, as many at a time."""
    async with Bench.connect(server.url) as service:
        await spread(lambda number: service.noted.publish(Note(number=number, text=TEXT)))
    async with alone(server) as (_, stream):
        subscription = await stream.pull_subscribe(NOTED.subject, durable="alone")
        began, left = time.perf_counter(), EVENTS
        while left:
            messages = await subscription.fetch(HANDLERS, timeout=5)
            await asyncio.gather(*(message.ack_sync() for message in messages))
            left -= len(messages)
        return EVENTS / (time.perf_counter() - began)


# --- feeds -------------------------------------------------------------------------------------------------------------


async def feed_ours(server: NatsServer) -> float:
    """Yield frames to one reader. Frames per second."""
    async with Bench.connect(server.url) as service, Bench.connect(server.url) as reader:

        @service.notes.handle
        async def notes(context: FeedContext, request: Note) -> AsyncIterator[Note]:  # noqa: ARG001 - likewise
            for number in range(request.number):
                yield Note(number=number, text=TEXT)

        service.group.leave_to_others()
        await service.start()
        began, received = time.perf_counter(), 0
        async with reader.open_notes(Note(number=FRAMES, text="")) as events:
            async for _ in events:
                received += 1
        if received != FRAMES:
            raise RuntimeError(f"{received} of {FRAMES} frames arrived")
        return FRAMES / (time.perf_counter() - began)


async def feed_alone(server: NatsServer) -> float:
    """Publish the same bytes on core NATS to one reader of another connection."""
    async with alone(server) as (sender, _), alone(server) as (reader, _):
        subscription = await reader.subscribe("frames", pending_msgs_limit=-1, pending_bytes_limit=-1)  # pyright: ignore[reportUnknownMemberType] - likewise
        await reader.flush()

        async def send() -> None:
            for number in range(FRAMES):
                await sender.publish("frames", json.dumps({"number": number, "text": TEXT}).encode())
                if number % 100 == 0:
                    await asyncio.sleep(0)

        began = time.perf_counter()
        received = 0
        async with (
            asyncio.timeout(60),
            asyncio.TaskGroup() as group,
        ):  # a frame that is lost would be waited for indefinitely
            group.create_task(send())
            async for _ in subscription.messages:  # `next_msg` makes a timer and a task for each
                received += 1
                if received == FRAMES:
                    break
        return FRAMES / (time.perf_counter() - began)


# --- stores ------------------------------------------------------------------------------------------------------------


async def put_ours(server: NatsServer) -> float:
    """Write an object. MiB per second."""
    content = os.urandom(OBJECT_BYTES)
    async with Bench.connect(server.url) as service:
        began = time.perf_counter()
        await service.files.put("object", content)
        return OBJECT_BYTES / 2**20 / (time.perf_counter() - began)


async def put_alone(server: NatsServer) -> float:
    """Write the same with nats-py's object store."""
    content = os.urandom(OBJECT_BYTES)
    async with alone(server) as (_, stream):
        store = await stream.create_object_store("files")  # pyright: ignore[reportUnknownMemberType] - likewise
        began = time.perf_counter()
        await store.put("object", content)
        return OBJECT_BYTES / 2**20 / (time.perf_counter() - began)


async def get_ours(server: NatsServer) -> float:
    """Read an object, as bytes. MiB per second."""
    async with Bench.connect(server.url) as service:
        await service.files.put("object", os.urandom(OBJECT_BYTES))
        began = time.perf_counter()
        stored = await service.files.get("object")
        if stored is None or len(await stored.read()) != OBJECT_BYTES:
            raise RuntimeError("the object was not read")
        return OBJECT_BYTES / 2**20 / (time.perf_counter() - began)


async def get_alone(server: NatsServer) -> float:
    """Read the same with nats-py's object store."""
    async with alone(server) as (_, stream):
        store = await stream.create_object_store("files")  # pyright: ignore[reportUnknownMemberType] - likewise
        await store.put("object", os.urandom(OBJECT_BYTES))
        began = time.perf_counter()
        found = await store.get("object")
        if len(found.data or b"") != OBJECT_BYTES:
            raise RuntimeError("the object was not read")
        return OBJECT_BYTES / 2**20 / (time.perf_counter() - began)


# --- tables ------------------------------------------------------------------------------------------------------------


def call_rates(python: Path, script: str, concurrency: int) -> CallRates:
    """Run a column of the calls in a process of its own."""
    with NatsServer() as server:
        arguments = [server.url, str(CALLS[concurrency]), str(concurrency)]
        command = [str(python), str(PEERS / script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)  # noqa: S603 - our own script
    return cast("CallRates", json.loads(done.stdout))


def calls_table() -> Table:
    """Compare round trips; FastStream is left out where `make peers` was not run."""
    ours = Path(sys.executable)
    columns = {
        "trellis-nats": (ours, "calls_with_trellis_nats.py"),
        "nats-py alone, echoing bytes": (ours, "calls_with_nats_py.py"),
        "nats-py and pydantic, by hand": (ours, "calls_with_nats_py_and_pydantic.py"),
        "FastStream": (PEERS_PYTHON, "calls_with_faststream.py"),
    }
    columns = {name: column for name, column in columns.items() if column[0].exists()}
    table = Table(title=f"round trips of an RPC, medians of {ROUNDS} alternating rounds")
    for heading in ("concurrency", "system", "calls/s", "ours/theirs", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for concurrency in CALLS:
        rounds = [
            {name: call_rates(*column, concurrency) for name, column in columns.items()}
            for _ in range(ROUNDS)
        ]
        for name in columns:
            ratio = statistics.median(rates["trellis-nats"]["rate"] / rates[name]["rate"] for rates in rounds)
            rate = statistics.median(rates[name]["rate"] for rates in rounds)
            p50 = statistics.median(rates[name]["p50_ms"] for rates in rounds)
            p99 = statistics.median(rates[name]["p99_ms"] for rates in rounds)
            table.add_row(str(concurrency), name, f"{rate:,.0f}", f"{ratio:.2f}", f"{p50:.2f}", f"{p99:.2f}")
    return table


def measure_once(measure: Callable[[NatsServer], Awaitable[float]]) -> float:
    """Measure once on a server of its own."""

    async def run() -> float:
        with NatsServer() as server:
            return await measure(server)

    return asyncio.run(run())


def surfaces_table() -> Table:
    """Compare events, feeds and stores."""
    table = Table(title=f"the other surfaces, medians of {ROUNDS} alternating rounds")
    for heading in ("what", "ours", "nats-py alone", "ratio"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, unit, ours, theirs in (
        (f"publish {EVENTS:,} events, {IN_FLIGHT} in flight", "/s", publish_ours, publish_alone),
        (f"handle them in a group, {HANDLERS} at a time", "/s", consume_ours, consume_alone),
        (f"{FRAMES:,} frames of a feed", "/s", feed_ours, feed_alone),
        ("put an object of 32 MiB", " MiB/s", put_ours, put_alone),
        ("get it", " MiB/s", get_ours, get_alone),
    ):
        rounds = [(measure_once(ours), measure_once(theirs)) for _ in range(ROUNDS)]
        mine, other = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(a / b for a, b in rounds)
        table.add_row(name, f"{mine:,.0f}{unit}", f"{other:,.0f}{unit}", f"{ratio:.2f}")
    return table


def main() -> None:
    """Print the tables."""
    console = Console()
    console.print(f"{describe_machine()}; load before: {os.getloadavg()[0]:.1f}", highlight=False)
    console.print(calls_table())
    console.print(surfaces_table())


if __name__ == "__main__":
    main()
