"""How fast does the projection read a stream, and how fast does it answer with many jobs?

First, `EVENTS` events of jobs in a real stream are read into a file: four events for each job, and payloads of 200 bytes. Then
`JOBS` jobs are folded into a file without a server, one in a hundred dead in 40 groups, and each kind of filter is timed: its
first page with its counts, the slowest of three. Environment variables:

- EVENTS: by default 100,000.
- JOBS: by default 100,000, which takes a minute. The figures of docs/decisions/0038 are of 1,000,000.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from machine import describe_machine  # type: ignore[import-not-found]  # a neighbour, which scripts find
from trellis_admin.projection.database import Database, connect_reader
from trellis_admin.projection.follower import catch_up
from trellis_admin.projection.incoming import Incoming
from trellis_admin.projection.writer import Writer
from trellis_admin.queries import (
    Selection,
    count_states,
    list_error_groups,
    list_jobs,
    list_queues,
    parse_filter,
    read_overview,
    select_targets,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._versions import digest_line
from trellis_nats.clock import timestamp
from trellis_nats.testing import NatsServer

EVENTS: Final = int(os.environ.get("EVENTS", "100000"))
JOBS: Final = int(os.environ.get("JOBS", "100000"))
PAGE: Final = 2_000
DIGEST: Final = "b" * 43
NOW: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)
QUEUES: Final = (
    "charge-payment",
    "reserve-inventory",
    "publish-stock",
    "send-reply",
    "sync-tickets",
    "refresh-catalog",
)
ERRORS: Final = tuple(
    f"{kind}: {text}"
    for kind in ("GatewayTimeout", "OutOfStock", "ReadTimeout", "ValueError")
    for text in (
        "no answer from payments within {n} s",
        "order {n} is unknown",
        "'{n}' is not a number",
        "row {n} is locked",
        "the account {n} is closed",
        "part {n} of {n} is missing",
        "the vendor refused {n}",
        "too many requests: {n}",
        "the pool has {n} connections",
        "version {n} is too old",
    )
)
HISTORY: Final = timedelta(days=20)


def job_id(number: int) -> str:
    """Return the id of a job."""
    return f"01M8K{random.Random(number).getrandbits(80):020X}"  # noqa: S311 - it need not be secret


def events_of(number: int, at: datetime, ending: str) -> list[tuple[str, dict[str, object], datetime]]:
    """Return the events of a job, with their subjects and times."""
    queue, name = QUEUES[number % len(QUEUES)], job_id(number)
    base: dict[str, object] = {
        "jobId": name,
        "service": "orders",
        "jobType": queue,
        "context": {
            "requestId": f"R{name}",
            "traceId": f"{number * 0x9E3779B97F4A7C15 & (1 << 128) - 1:032x}",
            "traceparent": f"00-{number:032x}-{number:016x}-01",
        },
    }
    key = f"customer/{number % 50_000}"
    created: dict[str, object] = {
        "eventType": "created", "state": "pending", "tries": 0, "maxTries": 5,
        "payload": {"order_id": f"o-{number}", "customer": {"id": number % 50_000, "city": f"city-{number % 300}"}, "text": "x" * 100},
        "concurrency": {"key": key, "keyHash": f"{number % 50_000:064x}"},
        "trigger": {"kind": "serviceCode"},
    }  # fmt: skip
    started: dict[str, object] = {
        "eventType": "started",
        "state": "active",
        "tries": 1,
        "worker": {"instanceId": f"worker-{number % 40}"},
    }
    steps: list[dict[str, object]] = [created]
    if ending != "pending":
        steps.append(started)
    if ending in ("dead", "retry", "failed"):
        error = ERRORS[number % 37 % len(ERRORS)] if ending == "failed" else ERRORS[number // 7 % len(ERRORS)]
        steps.append(
            {"eventType": ending, "state": ending, "tries": 1, "error": error.replace("{n}", str(number))}
        )
    elif ending == "completed":
        steps.append(
            {"eventType": "progress", "state": "active", "tries": 1, "progress": {"current": 1, "total": 2}}
        )
        steps.append({"eventType": "completed", "state": "completed", "tries": 1, "result": {"ok": True}})
    events: list[tuple[str, dict[str, object], datetime]] = []
    for step, members in enumerate(steps):
        when = at + timedelta(seconds=2 * step)
        subject = f"trellis.jobs.orders.{queue}.{name}.{members['eventType']}"
        events.append((subject, {**base, **members, "timestamp": timestamp(when)}, when))
    return events


def ending_of(number: int) -> str:
    """Return how a job stands: 1 % is dead, a few wait."""
    shares = (("dead", 1), ("failed", 2), ("retry", 1), ("pending", 4), ("completed", 92))
    endings = [ending for ending, share in shares for _ in range(share)]
    return endings[number % 100]


def million() -> Iterator[list[Incoming]]:
    """Yield pages of the events of all jobs."""
    page: list[Incoming] = []
    sequence = 0
    for number in range(JOBS):
        at = NOW - HISTORY + HISTORY * number / JOBS
        for subject, body, when in events_of(number, at, ending_of(number)):
            sequence += 1
            stored = int(when.timestamp() * 1000)
            page.append(Incoming(sequence, stored, subject, json.dumps(body).encode(), DIGEST))
            if len(page) == PAGE:
                yield page
                page = []
    yield page


async def publish(connection: Connection) -> None:
    """Fill the stream."""
    await call(
        connection,
        "STREAM.CREATE.JOBS",
        {"name": "JOBS", "subjects": ["trellis.jobs.>"], "storage": "file", "allow_direct": True},
    )
    headers = digest_line(DIGEST)
    sent = 0
    while sent < EVENTS:
        for number in range(sent // 4, sent // 4 + 1_000):
            for subject, body, _ in events_of(number, NOW, "completed"):
                connection.send(subject, json.dumps(body).encode(), headers=headers)
                sent += 1
        await connection.wait_writable()
        await wait_stored(connection, sent - 20_000)
    await wait_stored(connection, sent)


async def wait_stored(connection: Connection, count: int) -> None:
    """Wait until the stream holds as many messages."""
    while True:
        match await call(connection, "STREAM.INFO.JOBS"):
            case {"state": {"messages": int(stored)}} if stored >= count:
                return
            case _:
                await asyncio.sleep(0.02)


async def read_stream(folder: Path) -> None:
    """Measure the reading of a real stream."""
    async with NatsServer() as server:
        connection = await Connection.open(server.url, settings=ConnectionSettings())
        try:
            await publish(connection)
            with closing(Database.open(folder / "stream.sqlite")) as database:
                begun, cpu = time.perf_counter(), time.process_time()
                done = await catch_up(connection, database)
                elapsed, used = time.perf_counter() - begun, time.process_time() - cpu
                print(
                    f"read {done.events:,} events in {elapsed:.1f} s: {done.events / elapsed:,.0f}/s, {used:.1f} s of CPU"
                )
                begun = time.perf_counter()
                await catch_up(connection, database)
                print(f"nothing new: {(time.perf_counter() - begun) * 1000:.0f} ms")
        finally:
            await connection.close()


def fill(path: Path) -> None:
    """Fold the events of all jobs."""
    with closing(Database.open(path)) as database:
        writer = Writer(database)
        events, elapsed = 0, 0.0
        for page in million():
            checkpoint = writer.checkpoint()
            begun = time.perf_counter()
            writer.apply(page, generation=checkpoint.salt, after=checkpoint.sequence)
            elapsed += time.perf_counter() - begun
            events += len(page)
    size = path.stat().st_size / 1024**2
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"folded {events:,} events of {JOBS:,} jobs in {elapsed:.0f} s: {events / elapsed:,.0f}/s; {size:,.0f} MiB, {memory:.0f} MiB of memory"
    )


FILTERS: Final = (
    "",
    "state:dead",
    "state:completed",
    "state:retry,failed",
    "queue:charge-payment",
    "queue:charge-payment state:retry,failed",
    "arg:order_id=o-900071",
    "arg:customer.city=city-7",
    "arg:customer.id=7 state:dead",
    "key:customer/7",
    "key:customer/1*",
    "error:GatewayTimeout",
    "error:GatewayTimeout state:dead queue:send-reply",
    'error:"is unknown"',
    "error:900001",
    "worker:worker-7",
    "worker:worker-7 state:dead",
    f"contract:{DIGEST[:8]}",
    "created:>-1h",
    "created:<-19d",
    "created:-10d..-9d state:dead",
    "created:-10d..-9d queue:send-reply",
    "since:-1d",
    "since:-1d state:failed",
    "nothing",
    "unknown",
    "customer/7",
    job_id(500_000 % JOBS),
    f"id:{job_id(77)[:10]}",
    "queue:send-reply worker:worker-7 state:pending",
    "queue:charge-payment error:OutOfStock created:>-2d",
    "actor:anna",
)


def slowest(question: Callable[[], object]) -> float:
    """Return how many milliseconds a question takes, the slowest of three."""
    times: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        question()
        times.append((time.perf_counter() - begun) * 1000)
    return max(times)


def ask(db: sqlite3.Connection) -> None:
    """Time the queries."""
    at = 10**9
    for text in FILTERS:
        selection = Selection(parse_filter(text, NOW), at)
        page = list_jobs(db, selection)
        total = f"{page.total.number:,}{'' if page.total.is_exact else '+'}"
        first = slowest(partial(list_jobs, db, selection))
        states = slowest(partial(count_states, db, selection))
        targets = slowest(partial(select_targets, db, selection, limit=500))
        print(
            f"  {text or '(all)':55} {total:>9} jobs: page {first:5.0f} ms, states {states:5.0f} ms, targets {targets:5.0f} ms"
        )
    hour = timedelta(hours=1)
    for name, question in {
        "dead groups": lambda: list_error_groups(db, NOW),
        "queues, 1 h": lambda: list_queues(db, hour, NOW),
        "overview, 1 h": lambda: read_overview(db, hour, NOW),
        "overview, 24 h": lambda: read_overview(db, 24 * hour, NOW),
    }.items():
        print(f"  {name}: {slowest(question):.0f} ms")


def main() -> None:
    """Run."""
    print(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(read_stream(folder))
        path = folder / "million.sqlite"
        fill(path)
        with closing(connect_reader(path)) as db:
            ask(db)


if __name__ == "__main__":
    main()
