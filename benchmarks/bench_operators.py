"""How do an operator's questions and actions behave behind many jobs?

One server with file storage has the events of `JOBS` jobs in six queues, two or three for each; 1 % of them are dead, with 40 kinds of
errors. Then

1. the projection is built from nothing, in a process of its own: time, memory, size;
2. the first pages of lists, groups, searches and counts are timed, the slowest of five;
3. the metrics of the fleet are read;
4. all dead jobs are replayed at `RATE` a second, by a process that is killed in the middle. Another one continues. Each dead job
   must have exactly one `retried` event, and no other job any.

Environment variables:

- JOBS: by default 50,000; 1,000,000 is what docs/operate reports.
- RATE: by default 500.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

import trellis_admin
from machine import describe_machine  # type: ignore[import-not-found]  # a neighbour, which scripts find
from pydantic import JsonValue
from trellis_admin.metrics import FleetMetrics
from trellis_admin.projection import Database, catch_up, connect_reader
from trellis_admin.queries import (
    JobPage,
    Selection,
    count_states,
    find_jobs,
    list_error_groups,
    list_jobs,
    list_queues,
    parse_filter,
    read_overview,
    read_status,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject, call
from trellis_nats._nats.jetstream.streams import count_by_subject
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._versions import digest_line
from trellis_nats.clock import now, timestamp
from trellis_nats.ids import new_id
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.testing import NatsServer

JOBS: Final = int(os.environ.get("JOBS", "50000"))
RATE: Final = int(os.environ.get("RATE", "500"))
DEAD: Final = JOBS // 100
QUEUES: Final = ("charge", "reserve", "publish", "reply", "sync", "refresh")
KINDS: Final = ("GatewayTimeout", "OutOfStock", "ReadTimeout", "ValueError")
TEXTS: Final = (
    "no answer from payments within {n} ms",
    "order {n} is unknown",
    "'{n}' is not a number",
    "row {n} is locked",
    "the account {n} is closed",
    "part {n} of a set is missing",
    "the vendor refused item {n}",
    "too many requests from {n}",
    "the pool has {n} connections",
    "version {n} is too old",
)
ERRORS: Final = len(KINDS) * len(TEXTS)
DIGEST: Final = "b" * 43
BURST: Final = 6_000
AHEAD: Final = 4
"""How many bursts publishing may be ahead of what the stream has stored."""
RETRIED: Final = f"trellis.jobs.*.*.*.{EventType.RETRIED}"
CONTEXT: Final = (
    '{"requestId":"01M8KT1SQRNQ61FVVWXTVD0ATW","traceId":"8baea45b310c7989b409a4d23b383c25",'
    '"traceparent":"00-8baea45b310c7989b409a4d23b383c25-f86552fb9bf83cd5-01"}'
)


# --- the stream ----------------------------------------------------------------------------------------------------------


async def fill(url: str) -> None:
    """Store the events of all jobs, without waiting for each."""
    connection = await Connection.open(url, settings=ConnectionSettings())
    await create_streams(connection)
    headers = digest_line(DIGEST)
    sent = 0
    began = time.perf_counter()
    for first in range(0, JOBS, BURST // 3):
        at = timestamp(now())
        for number in range(first, min(first + BURST // 3, JOBS)):
            queue, job = QUEUES[(number % 100 or number // 100 % ERRORS) % len(QUEUES)], new_id()
            for kind, body in events_of(number, queue, job, at):
                connection.send(f"trellis.jobs.bench.{queue}.{job}.{kind}", body.encode(), headers=headers)
                sent += 1
        await connection.wait_writable()
        await wait_stored(connection, sent - AHEAD * BURST)
    await wait_stored(connection, sent)
    await call(connection, "STREAM.PURGE.JOBS_WORK")
    print(f"{JOBS:,} jobs, {sent:,} events stored in {time.perf_counter() - began:.0f} s")
    await connection.close()


async def create_streams(connection: Connection) -> None:
    """Create the streams as provisioning does."""
    transforms: list[JsonValue] = [
        {"src": f"trellis.jobs.*.*.*.{kind}", "dest": "trellis.work.$1.$2"} for kind in ("created", "retried")
    ]
    common: JsonObject = {"storage": "file", "allow_direct": True}
    events: JsonObject = {"name": "JOBS", "subjects": ["trellis.jobs.>"]}
    work: JsonObject = {
        "name": "JOBS_WORK",
        "subjects": ["trellis.work.>"],
        "retention": "workqueue",
        "sources": [{"name": "JOBS", "subject_transforms": transforms}],
    }
    await call(connection, "STREAM.CREATE.JOBS", events | common)
    await call(connection, "STREAM.CREATE.JOBS_WORK", work | common)


def events_of(number: int, queue: str, job: str, at: str) -> list[tuple[str, str]]:
    """Return the events of a job, by type."""
    head = f'"jobId":"{job}","service":"bench","jobType":"{queue}","context":{CONTEXT},"timestamp":"{at}"'
    payload = f'{{"number":{number},"customer":"customer-{number % 5000}","text":"{"x" * 120}"}}'
    created = f'{{{head},"eventType":"created","state":"pending","tries":0,"maxTries":5,"payload":{payload}}}'
    started = f'{{{head},"eventType":"started","state":"active","previousState":"pending","tries":1}}'
    if number % 100:
        last = f'{{{head},"eventType":"completed","state":"completed","previousState":"active","tries":1,"result":{{"total":{number}}}}}'
        return [("created", created), ("completed", last)]
    error = number // 100 % ERRORS
    kind, text = KINDS[error % len(KINDS)], TEXTS[error // len(KINDS)].format(n=number)
    detail = f'"error":"{kind}: {text}","errorDetail":{{"type":"{kind}","message":"{text}"}}'
    dead = f'{{{head},"eventType":"dead","state":"dead","previousState":"active","tries":5,{detail}}}'
    return [("created", created), ("started", started), ("dead", dead)]


async def wait_stored(connection: Connection, sequence: int) -> None:
    """Wait until the stream has stored an event with this sequence."""
    while True:
        if await last_sequence(connection) >= sequence:
            return
        await asyncio.sleep(0.02)


# --- the projection ------------------------------------------------------------------------------------------------------


async def rebuild(url: str, file: Path) -> None:
    """Build the projection from nothing, and print the figures: in a process of its own."""
    connection = await Connection.open(url, settings=ConnectionSettings())
    began = time.perf_counter()
    with closing(Database.open(file)) as database:
        read = await catch_up(connection, database)
    took = time.perf_counter() - began
    await connection.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu, memory = used.ru_utime + used.ru_stime, used.ru_maxrss // 1024
    size = sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*")) / 2**20
    print(
        f"projection from nothing: {read.events:,} events in {took:.1f} s, {read.events / took:,.0f} a second; CPU {cpu:.0f} s, memory {memory} MiB, "
        f"file {size:.0f} MiB",
        flush=True,
    )


def time_queries(file: Path) -> None:
    """Print how long the questions of lists and pages take."""
    at = now()
    with closing(connect_reader(file)) as db:
        sequence = read_status(db).at

        def listed(text: str) -> Callable[[], object]:
            return lambda: list_jobs(db, Selection(parse_filter(text, at), sequence))

        one = list_jobs(db, Selection(parse_filter("state:dead", at), sequence)).rows[0]
        group = list_error_groups(db, at)[0].fingerprint
        questions: dict[str, Callable[[], object]] = {
            "list: all jobs": listed(""),
            "list: state:dead": listed("state:dead"),
            "list: state:completed queue:charge": listed("state:completed queue:charge"),
            "list: created in the last minute": listed("created:>-1m"),
            f"list: error:{group}": listed(f"error:{group}"),
            "search: a word of an error": listed("payments"),
            "search: an error type": listed("error:OutOfStock state:dead"),
            "search: arg:customer=customer-17": listed("arg:customer=customer-17"),
            "search: an id": lambda: find_jobs(db, one.id),
            "search: nothing matches": listed("error:none"),
            "counts by state": lambda: count_states(db, Selection(parse_filter("", at), sequence)),
            "groups of dead jobs": lambda: list_error_groups(db, at),
            "queues, last hour": lambda: list_queues(db, timedelta(hours=1), at),
            "overview, last hour": lambda: read_overview(db, timedelta(hours=1), at),
        }
        for name, ask in questions.items():
            took, answer = slowest(ask)
            print(f"  {name}: {took * 1000:.0f} ms{describe(answer)}")


def slowest(ask: Callable[[], object]) -> tuple[float, object]:
    """Return the longest time of five, and the answer."""
    times: list[float] = []
    answer: object = None
    for _ in range(5):
        began = time.perf_counter()
        answer = ask()
        times.append(time.perf_counter() - began)
    return max(times), answer


def describe(answer: object) -> str:
    """Return how many an answer has, where it is a list."""
    if isinstance(answer, JobPage):
        return f" ({'' if answer.total.is_exact else 'more than '}{answer.total.number:,} jobs)"
    return f" ({len(answer):,})" if isinstance(answer, list) else ""  # pyright: ignore[reportUnknownArgumentType]


# --- the replay ----------------------------------------------------------------------------------------------------------


async def replay(url: str, file: Path) -> None:
    """Replay all dead jobs, in a process of its own. The id of the bulk action is printed before it begins."""
    async with trellis_admin.connect(url, actor="bench", db=file) as operator:
        plan = await operator.bulk.plan("replay", "state:dead")
        record = await operator.bulk.start(
            plan, confirm=plan.count, reason="bench", begin_with=None, rate=float(RATE)
        )
        print(record.id, flush=True)
        await operator.bulk.run(record.id)


async def proceed(url: str, file: Path, bulk_id: str) -> None:
    """Continue a bulk action whose process was killed, in a process of its own."""
    async with trellis_admin.connect(url, actor="bench", db=file) as operator:
        record = await operator.bulk.run(bulk_id)
        print(f"the record: {record.state}, {record.sent:,} of {record.count:,} sent", flush=True)


async def replay_with_a_kill(url: str, file: Path) -> None:
    """Replay all dead jobs, kill the process in the middle, continue in another one, and check every job."""
    connection = await Connection.open(url, settings=ConnectionSettings())
    before = await last_sequence(connection)
    began = time.perf_counter()
    first = await asyncio.create_subprocess_exec(*own_process("replay", url, file), stdout=PIPE)
    bulk_id = (await first.stdout.readline()).decode().strip() if first.stdout else ""
    sending = time.perf_counter()
    await wait_stored(connection, before + DEAD // 2)
    first.kill()
    await first.wait()
    killed, killed_at = await last_sequence(connection) - before, time.perf_counter()
    second = await asyncio.create_subprocess_exec(*own_process("proceed", url, file, bulk_id))
    await wait_stored(connection, before + killed + 1)
    resumed = time.perf_counter()
    await wait_stored(connection, before + DEAD)
    rates = f"{killed / (killed_at - sending):,.0f} and {(DEAD - killed) / (time.perf_counter() - resumed):,.0f} a second"
    if await second.wait():
        raise SystemExit("the second process failed")
    took = time.perf_counter() - began
    counts = await count_by_subject(connection, "JOBS", RETRIED)
    repeated = sum(count != 1 for count in counts.values())
    print(
        f"replay of {DEAD:,}: {rates}; killed after {killed:,}, continued {resumed - killed_at:.1f} s later by another process; "
        f"{took:.0f} s in all; jobs retried: {len(counts):,}, more than once: {repeated}"
    )
    events = await last_sequence(connection) - before
    await connection.close()
    if (events, len(counts), repeated) != (DEAD, DEAD, 0):
        raise SystemExit("the counts differ")


async def last_sequence(connection: Connection) -> int:
    """Return the sequence of the newest event. To count subjects would hold up the writers of a stream with a million."""
    match await call(connection, "STREAM.INFO.JOBS"):
        case {"state": {"last_seq": int(last)}}:
            return last
        case answer:
            raise SystemExit(f"no stream JOBS: {answer}")


async def check_states(url: str, file: Path) -> None:
    """Check what the projection says after the replay."""
    async with trellis_admin.connect(url, actor="bench", db=file) as operator:
        states = await operator.count()
    found = {state.value: count.number for state, count in states.items() if count.number}
    print(f"states after the replay: {found}", flush=True)
    if found != {JobState.COMPLETED: JOBS - DEAD, JobState.PENDING: DEAD}:
        raise SystemExit("the states differ")


async def measure(url: str, file: Path) -> None:
    """Print how long the metrics of the fleet take."""
    connection = await Connection.open(url, settings=ConnectionSettings())
    fleet = FleetMetrics(connection, file)
    times: list[float] = []
    text = ""
    for _ in range(5):
        began = time.perf_counter()
        text = await fleet.text()
        times.append(time.perf_counter() - began)
    print(f"metrics: {text.count(chr(10)):,} lines, {max(times) * 1000:.0f} ms")
    await connection.close()


# -------------------------------------------------------------------------------------------------------------------------


def own_process(step: str, url: str, file: Path, *more: str) -> list[str]:
    """Return the command of a step in a process of its own."""
    return [sys.executable, str(Path(__file__)), step, url, str(file), *more]


async def run(step: str, url: str, file: Path) -> None:
    """Run a step in a process of its own."""
    process = await asyncio.create_subprocess_exec(*own_process(step, url, file))
    if await process.wait():
        raise SystemExit(f"{step} failed")


async def main() -> None:
    """Run all steps, and print the figures."""
    print(describe_machine(), f"load {os.getloadavg()[0]:.1f}", sep=", ")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "jobs.sqlite"
        async with NatsServer() as server:
            await fill(server.url)
            await run("rebuild", server.url, file)
            time_queries(file)
            await measure(server.url, file)
            await replay_with_a_kill(server.url, file)
            await run("states", server.url, file)


STEPS: Final = {"rebuild": rebuild, "replay": replay, "states": check_states}

if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            asyncio.run(main())
        case ["proceed", url, file, bulk_id]:
            asyncio.run(proceed(url, Path(file), bulk_id))
        case [step, url, file]:
            asyncio.run(STEPS[step](url, Path(file)))
        case _:
            raise SystemExit("it takes no arguments")
