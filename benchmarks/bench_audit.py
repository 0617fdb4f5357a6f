"""How fast does `trellis audit` read what waits in a stream?

Each message is the `created` event of a job with a payload of 200 bytes, which is read and decoded by what a worker uses. One server
with file storage, one client. Environment variables:

- MESSAGES: how many jobs wait; by default 100,000.
- REFUSED: the share of payloads that the contract refuses; by default 0.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from typing import ClassVar, Final

from machine import describe_machine  # type: ignore[import-not-found]  # a neighbour, which scripts find
from trellis_admin.audit.auditing import audit_service
from trellis_nats import RUNTIME_API, Contract, JobQueue, Jobs, JobSpec, Model, Options, Runtime, Service
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._versions import digest_line
from trellis_nats.clock import now
from trellis_nats.codec import encode_json
from trellis_nats.context import new_context
from trellis_nats.ids import new_id
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.testing import NatsServer

MESSAGES: Final = int(os.environ.get("MESSAGES", "100000"))
REFUSED: Final = float(os.environ.get("REFUSED", "0"))
TEXT: Final = "x" * 140
PLACE: Final = "0" * 26
DIGEST: Final = "b" * 43
BURST: Final = 5_000
BURSTS_AHEAD: Final = 4
"""How far publishing may be ahead of what the stream has stored."""


class Line(Model):
    """A part of a payload."""

    sku: str
    quantity: int


class Order(Model):
    """A payload."""

    number: int
    text: str
    lines: list[Line]


class WorkQueue(JobQueue[Order, None]):
    """The queue."""

    spec: ClassVar[JobSpec] = JobSpec(name="work", payload=Order)


class BenchJobs(Jobs):
    """Its facade."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.work: Final = WorkQueue(runtime)


class Bench(Service):
    """The service whose jobs wait."""

    contract: ClassVar[Contract] = Contract(
        id="bench@v1", digest=DIGEST, generator="0.1.0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = BenchJobs(runtime)


def make_event(quantity: int | str) -> bytes:
    """Return a `created` event, with a place for the id."""
    identity = JobIdentity(job_id=PLACE, service="bench", queue="work", context=new_context())
    payload = encode_json({"number": 1, "text": TEXT, "lines": [{"sku": "a-1", "quantity": quantity}]})
    event = identity.created(payload, max_tries=5, deadline=None, trigger=None, lineage=None, at=now())
    return event.encode()


async def fill(url: str) -> None:
    """Store the jobs, without waiting for each."""
    connection = await Connection.open(url, settings=ConnectionSettings())
    await call(
        connection,
        "STREAM.CREATE.JOBS",
        {"name": "JOBS", "subjects": ["trellis.jobs.>"], "storage": "file"},
    )
    good, bad = make_event(1), make_event("one")
    headers = digest_line(DIGEST)
    for first in range(0, MESSAGES, BURST):
        for number in range(first, min(first + BURST, MESSAGES)):
            job = new_id()
            body = (bad if number % 1000 < REFUSED * 1000 else good).replace(PLACE.encode(), job.encode())
            connection.send(f"trellis.jobs.bench.work.{job}.created", body, headers=headers)
        await connection.wait_writable()
        await wait_stored(connection, first - BURSTS_AHEAD * BURST)
    await wait_stored(connection, MESSAGES)
    await connection.close()


async def wait_stored(connection: Connection, count: int) -> None:
    """Wait until the stream holds as many messages."""
    while True:
        match await call(connection, "STREAM.INFO.JOBS"):
            case {"state": {"messages": int(stored)}} if stored >= count:
                return
            case _:
                await asyncio.sleep(0.02)


async def main() -> None:
    """Fill a stream, audit it, and print the figures."""
    async with NatsServer() as server:
        await fill(server.url)
        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.perf_counter()
        audit = await audit_service(Bench, server.url, Options())
        took = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(describe_machine(), f"load {os.getloadavg()[0]:.1f}", sep=", ")
    print(
        f"{audit.values:,} payloads, {audit.refused:,} refused: {took:.1f} s, {audit.values / took:,.0f} a second; client CPU "
        f"{cpu:.1f} s; memory {before.ru_maxrss // 1024} → {after.ru_maxrss // 1024} MiB"
    )


if __name__ == "__main__":
    asyncio.run(main())
