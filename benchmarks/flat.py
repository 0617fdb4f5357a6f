"""Are speed and memory the same with a million stored jobs, 100,000 keys and 100,000 delayed jobs?

A server for each row holds them; all run at the same time and are measured in turn. A worker is a process of its own, so
that its memory is that of the work alone. Its duties as the leader, the search for lost jobs and the purge, are measured
apart from its jobs: once from the start of the stream, as after a reconnect, and once more, as in every minute.
`of empty` compares with the row without anything stored in the same round, by CPU time of client and server, which a busy
machine does not change much. It takes 5 minutes on two idle cores. FLAT_SCALE=0.1 stores a tenth; ROWS=stored,delayed
leaves out the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final, TypedDict, cast

from durable.meter import Measured, Meter, cpu_us  # type: ignore[import-not-found]  # neighbours, which scripts find
from durable.service import (  # type: ignore[import-not-found]  # likewise
    CONSUMER,
    WITHOUT_DUTIES,
    Handled,
    Payload,
    Result,
    Work,
    payload,
)
from durable.stored import fill, resident_bytes  # type: ignore[import-not-found]  # likewise
from machine import describe_machine  # type: ignore[import-not-found]  # likewise
from rich.console import Console
from rich.table import Table
from trellis_nats import (
    RUNTIME_API,
    Contract,
    JobQueue,
    Jobs,
    JobSpec,
    KeySpec,
    Maintenance,
    Runtime,
    Service,
)
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.jobs.maintenance.job_rescuer import JobRescuer
from trellis_nats.jobs.questions import build_liveness
from trellis_nats.testing import NatsServer

SCALE: Final = float(os.environ.get("FLAT_SCALE", "1"))
ROWS: Final = {
    "empty": 0,
    "stored": int(1_000_000 * SCALE),
    "keys": int(100_000 * SCALE),
    "delayed": int(100_000 * SCALE),
}
CHOSEN: Final = ["empty", *os.environ.get("ROWS", "stored,keys,delayed").split(",")]
ROUNDS: Final = 3
JOBS: Final = 2_000
CONCURRENCY: Final = 16
_WINDOW: Final = 1_000
_DELAY: Final = timedelta(days=1)
_POLL: Final = 0.1


class Keyed(JobQueue[Payload, Result]):
    """One job at a time for each number."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="keyed", payload=Payload, result=Result, key=KeySpec(template=("/number",), max_queued=100)
    )


class BenchJobs(Jobs):
    """Both queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.work = Work(runtime)
        self.keyed = Keyed(runtime)


class Bench(Service):
    """The service, under the name that the neighbours fill streams for."""

    contract: ClassVar[Contract] = Contract(
        id="bench@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs = BenchJobs(runtime)


class Worked(TypedDict):
    """One queue in one round."""

    plain: Measured
    keyed: Measured
    peak_bytes: int


class Duty(TypedDict):
    """What the leader does."""

    name: str
    seconds: float
    client_ms: float
    server_ms: float
    peak_bytes: int


# --- in a process of its own -----------------------------------------------------------------------------------------


async def work(url: str, pid: int) -> Worked:
    """Work jobs of both queues, without duties."""
    found: dict[str, Measured] = {}
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        handled = {name: Handled() for name in ("plain", "keyed")}
        queues = {"plain": bench.jobs.work, "keyed": bench.jobs.keyed}
        for name, queue in queues.items():
            handled[name].gate.set()
            queue.handle(concurrency=CONCURRENCY)(handled[name].work)
        await bench.jobs.start_workers()
        for name, queue in queues.items():
            meter = Meter(pid)
            meter.start()
            for start in range(0, JOBS, 64):
                numbers = range(start, min(start + 64, JOBS))
                await asyncio.gather(*(queue.create(payload(number)) for number in numbers))
            await handled[name].reached(JOBS)
            found[name] = meter.stop(JOBS)
    return Worked(plain=found["plain"], keyed=found["keyed"], peak_bytes=peak_bytes())


async def duties(url: str, pid: int) -> list[Duty]:
    """Run the duties of a leader: the search from the start of the stream, as after a reconnect, then as in every minute."""
    async with Bench.connect(url) as bench:
        runtime = bench.jobs.runtime
        binding = runtime.binding.jobs
        if binding is None:
            raise RuntimeError("the service has no queues")
        liveness, lost_after = build_liveness(runtime, binding), Maintenance().lost_after
        rescuer = JobRescuer(runtime.connection, binding, liveness, lost_after=lost_after)
        return [
            await measure_duty(pid, "first search", rescuer.run),
            await measure_duty(pid, "later search", rescuer.run),
            await measure_duty(pid, "purge", bench.jobs.purge_ended),
        ]


async def measure_duty(pid: int, name: str, run: Callable[[], Awaitable[object]]) -> Duty:
    """Run a duty once."""
    meter = Meter(pid)
    meter.start()
    await run()
    measured = meter.stop(1)
    return Duty(
        name=name,
        seconds=1 / measured["jobs_per_second"],
        client_ms=measured["client_us"] / 1000,
        server_ms=(measured["server_us"] or 0) / 1000,
        peak_bytes=peak_bytes(),
    )


async def park(url: str, jobs: int) -> float:
    """Create delayed jobs, and let a worker park them. Return the seconds that parking took."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        handled = Handled()
        bench.jobs.work.handle(concurrency=CONCURRENCY)(handled.work)
        await bench.jobs.work.create_many((payload(number) for number in range(jobs)), delay=_DELAY)
        connection, began = bench.jobs.runtime.connection, time.perf_counter()
        await bench.jobs.start_workers()
        while True:
            info = await get_consumer_info(connection, "JOBS_WORK", CONSUMER)
            # The first ones arrive before the worker can park: the server holds them as deliveries.
            if info is not None and info.delivered >= jobs and info.ack_pending <= CONCURRENCY:
                return time.perf_counter() - began
            await asyncio.sleep(_POLL)


async def store_keys(url: str, keys: int) -> None:
    """Store the records of keys that no job holds now."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        connection = bench.jobs.runtime.connection
        for start in range(0, keys, _WINDOW):
            names = [
                f"$KV.JOBS_KEYS_bench.bench.keyed.{number:064x}"
                for number in range(start, min(start + _WINDOW, keys))
            ]
            await asyncio.gather(*(publish_acked(connection, name, b"{}") for name in names))


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")
    )
    return int(line.split()[1]) * 1024


# --- in the process that compares -----------------------------------------------------------------------------------


def prepare(row: str, url: str) -> None:
    """Store what the row has."""
    match row:
        case "stored":
            asyncio.run(fill(url, ROWS[row]))
        case "keys":
            asyncio.run(store_keys(url, ROWS[row]))
        case "delayed":
            asyncio.run(park(url, ROWS[row]))
        case _:
            pass


def in_own_process(action: str, server: NatsServer) -> object:
    """Run one of the functions above in a new process, and return its result."""
    command = [sys.executable, __file__, action, server.url, str(server.pid)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - this script
    return json.loads(done.stdout)


def main() -> None:
    """Print the tables, and write the figures as JSON next to this file."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    with ExitStack() as stack:
        servers = {row: stack.enter_context(NatsServer()) for row in CHOSEN}
        for row, server in servers.items():
            began = time.perf_counter()
            prepare(row, server.url)
            console.print(f"{row}: {ROWS[row]:,} prepared in {time.perf_counter() - began:.0f} s")
        rounds = [
            {row: cast("Worked", in_own_process("work", server)) for row, server in servers.items()}
            for _ in range(ROUNDS)
        ]
        memory = {row: resident_bytes(server.pid) or 0 for row, server in servers.items()}
        work = {row: summary(row, rounds) for row in servers}
        print_work(console, work, memory)
        led = {row: cast("list[Duty]", in_own_process("duties", server)) for row, server in servers.items()}
    print_duties(console, led)
    console.print(f"{describe_machine()}; load {os.getloadavg()[0]:.1f} at the end")
    figures = {
        "machine": describe_machine(),
        "rows": ROWS,
        "work": work,
        "duties": led,
        "server_bytes": memory,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")


def summary(row: str, rounds: list[dict[str, Worked]]) -> dict[str, float]:
    """Return the medians of one row."""
    found = {"peak_bytes": statistics.median(each[row]["peak_bytes"] for each in rounds)}
    for queue in ("plain", "keyed"):
        measured = [each[row][queue] for each in rounds]
        found[f"{queue}_per_second"] = statistics.median(one["jobs_per_second"] for one in measured)
        found[f"{queue}_client_us"] = statistics.median(one["client_us"] for one in measured)
        found[f"{queue}_server_us"] = statistics.median(one["server_us"] or 0 for one in measured)
        found[f"{queue}_of_empty"] = statistics.median(
            cpu_us(each["empty"][queue]) / cpu_us(each[row][queue]) for each in rounds
        )
    return found


def print_work(console: Console, work: dict[str, dict[str, float]], memory: dict[str, int]) -> None:
    """Print what working a job costs in each row."""
    table = Table(
        title=f"{JOBS:,} jobs created and worked, concurrency {CONCURRENCY}; medians of {ROUNDS} rounds"
    )
    for name in ("row", "queue", "jobs/s", "client µs", "server µs", "of empty", "worker, peak", "server"):
        table.add_column(name, justify="left" if name in {"row", "queue"} else "right")
    for row, found in work.items():
        for queue in ("plain", "keyed"):
            table.add_row(
                f"{ROWS[row]:,} {row}" if ROWS[row] else row,
                queue,
                f"{found[f'{queue}_per_second']:,.0f}",
                f"{found[f'{queue}_client_us']:,.0f}",
                f"{found[f'{queue}_server_us']:,.0f}",
                f"{found[f'{queue}_of_empty']:.2f}",
                _mib(found["peak_bytes"]),
                _mib(memory[row]),
            )
    console.print(table)


def print_duties(console: Console, led: dict[str, list[Duty]]) -> None:
    """Print what the leader does in addition."""
    table = Table(title="duties of the leader")
    for name in ("row", "duty", "seconds", "client ms", "server ms", "leader, peak"):
        table.add_column(name, justify="left" if name in {"row", "duty"} else "right")
    for row, duties_of_row in led.items():
        for duty in duties_of_row:
            table.add_row(
                row,
                duty["name"],
                f"{duty['seconds']:.2f}",
                f"{duty['client_ms']:,.0f}",
                f"{duty['server_ms']:,.0f}",
                _mib(duty["peak_bytes"]),
            )
    console.print(table)


def _mib(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        actions = {"work": work, "duties": duties}
        print(json.dumps(asyncio.run(actions[sys.argv[1]](sys.argv[2], int(sys.argv[3])))))
    else:
        main()
