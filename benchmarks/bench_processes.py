"""What do several processes of one service bring, and when is it the server that is the limit?

Jobs of 200 bytes are worked by 1, 2 and 4 processes, on one server and on a cluster of three on loopback, where each stream
has three replicas. Next to them, the same processes publish by nats-py alone, each message acknowledged: a job stores two
events while it is worked, so that half of the highest rate of these is what the server takes at most.

The clients share the cores with the servers. So each row says how many cores they kept busy, and `limit` what kept it from being
faster: the processes (each used a core), the machine (they and the servers used all cores), others (programs on this machine), or
the server (cores were idle: the processes waited for it).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, TypedDict

from durable.service import CONSUMER, WITHOUT_DUTIES, Bench  # type: ignore[import-not-found]  # neighbours, which scripts find
from machine import describe_machine  # type: ignore[import-not-found]  # likewise
from nats.aio.client import Client
from rich.console import Console
from rich.table import Table
from trellis_nats.testing import NatsServer

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.cluster import running_cluster

COMMANDED: Final = Path(__file__).parent / "durable/commanded.py"
PROCESSES: Final = (1, 2, 4)
CONCURRENCY: Final = 64
"""Of each process."""
JOBS: Final = int(os.environ.get("BENCH_JOBS", "3000"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "3"))
EVENTS_PER_JOB: Final = 2
"""Events that are stored while a job is worked: `started` and `completed`."""
BUSY: Final = 0.85
"""The part of a core, or of all cores, from which on it counts as busy."""
_POLL: Final = 0.005
_CORES: Final = len(os.sched_getaffinity(0))


class Phase(TypedDict):
    """One measured phase, or the medians of several."""

    per_second: float
    client_us: float
    """CPU time of all processes for each job or message, in microseconds."""
    server_us: float
    """Likewise of all servers."""
    client_cores: float
    """How many cores the processes kept busy."""
    server_cores: float
    idle_cores: float
    """How many cores no program used."""


class Row(TypedDict):
    """The medians for a number of processes."""

    servers: str
    what: str
    processes: int
    phase: Phase
    of_one: float
    """The rate, divided by that of one process in the same round."""
    limit: str


class Commanded:
    """A process of `durable/commanded.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def send(self, line: object) -> None:
        """Send a command, or the next line of one."""
        if self._process.stdin is None:
            raise RuntimeError("the process has no input")
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def read(self) -> str:
        """Return the next line that it prints."""
        line = await self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise RuntimeError("a process of the benchmark has ended")
        return line.decode().strip()


class Bed:
    """Servers, and the processes that use them."""

    def __init__(
        self, name: str, url: str, pids: Sequence[int], crew: Sequence[Commanded], watcher: Client
    ) -> None:
        self.name = name
        self._url = url
        self._pids = pids
        self._crew = crew
        self._watcher = watcher

    async def work(self, processes: int) -> Phase:
        """Create jobs, then measure how so many processes work them; the first ones of each have begun before."""
        begun = processes * CONCURRENCY
        await self._run(self._crew[:1], ["create", self._url, JOBS + begun])
        crew = self._crew[:processes]
        await self._prepare(crew, ["work", self._url, CONCURRENCY])
        await self._until(lambda waiting, running: running >= begun and waiting + running == JOBS + begun)

        async def finish() -> None:
            await self._until(lambda waiting, running: waiting + running == 0)
            for process in crew:
                process.send("stop")

        return await self._measure(crew, JOBS, finish)

    async def publish(self, processes: int) -> Phase:
        """Measure how so many processes publish as many events as the jobs have."""
        crew, count = self._crew[:processes], JOBS * EVENTS_PER_JOB // processes
        await self._prepare(crew, ["publish", self._url, count])

        async def finish() -> None:
            pass

        return await self._measure(crew, count * processes, finish)

    async def _prepare(self, crew: Sequence[Commanded], command: object) -> None:
        for process in crew:
            process.send(command)
        for process in crew:
            await process.read()

    async def _run(self, crew: Sequence[Commanded], command: object) -> None:
        await self._prepare(crew, command)
        for process in crew:
            process.send("go")
        for process in crew:
            await process.read()

    async def _measure(
        self, crew: Sequence[Commanded], count: int, finish: Callable[[], Awaitable[None]]
    ) -> Phase:
        server, idle, began = cpu_seconds(self._pids), idle_seconds(), time.perf_counter()
        for process in crew:
            process.send("go")
        await finish()
        client = sum([float(await process.read()) for process in crew])
        wall, server = time.perf_counter() - began, cpu_seconds(self._pids) - server
        return Phase(
            per_second=count / wall,
            client_us=client / count * 1e6,
            server_us=server / count * 1e6,
            client_cores=client / wall,
            server_cores=server / wall,
            idle_cores=(idle_seconds() - idle) / wall,
        )

    async def _until(self, is_reached: Callable[[int, int], bool]) -> None:
        """Wait for a state of the consumer: how many jobs wait, and how many are delivered and not acknowledged."""
        while True:
            answer = await self._watcher.request(f"$JS.API.CONSUMER.INFO.JOBS_WORK.{CONSUMER}", timeout=10)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
            info = json.loads(answer.data)
            if is_reached(int(info["num_pending"]), int(info["num_ack_pending"])):
                return
            await asyncio.sleep(_POLL)


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time of processes."""
    ticks = 0
    for pid in pids:
        # The fields after the name, which is in parentheses and may hold spaces: utime and stime are the 14th and 15th.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def end(process: asyncio.subprocess.Process) -> None:
    """Kill a process that still runs."""
    if process.returncode is None:
        process.kill()


def idle_seconds() -> float:
    """Return how long the cores of this machine were idle, or waited for a disk, all together."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def prepare(name: str) -> AsyncGenerator[Bed]:
    """Start the servers, the streams and the processes."""
    async with AsyncExitStack() as stack:
        if name == "3 servers":
            cluster = await stack.enter_async_context(running_cluster())
            url, servers = cluster.url, [*cluster.servers.values()]
        else:
            server = await stack.enter_async_context(NatsServer())
            url, servers = server.url, [server]
        async with Bench.connect(url, options=WITHOUT_DUTIES):
            pass  # creates the streams and the consumer
        crew: list[Commanded] = []
        for _ in range(max(PROCESSES)):
            process = await asyncio.create_subprocess_exec(
                sys.executable, COMMANDED, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            stack.push_async_callback(process.wait)
            stack.callback(end, process)
            crew.append(Commanded(process))
        watcher = Client()
        await watcher.connect(url.split(","))  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
        stack.push_async_callback(watcher.close)
        yield Bed(name, url, [server.pid for server in servers], crew, watcher)


async def compare(bed: Bed) -> list[Row]:
    """Measure all numbers of processes in turn; the order is reversed in every second round."""
    kinds = {"jobs": bed.work, "publishes": bed.publish}
    rounds: list[dict[tuple[str, int], Phase]] = []
    for number in range(ROUNDS):
        order = [(what, processes) for what in kinds for processes in PROCESSES]
        measured = {
            (what, n): await kinds[what](n) for what, n in (order if number % 2 == 0 else order[::-1])
        }
        rounds.append(measured)
    return [
        Row(
            servers=bed.name,
            what=what,
            processes=processes,
            phase=(phase := medians([measured[what, processes] for measured in rounds])),
            of_one=statistics.median(
                measured[what, processes]["per_second"] / measured[what, 1]["per_second"]
                for measured in rounds
            ),
            limit=find_limit(phase, processes),
        )
        for what in kinds
        for processes in PROCESSES
    ]


def medians(phases: Sequence[Phase]) -> Phase:
    """Return the median of each figure."""
    return Phase(
        per_second=statistics.median(phase["per_second"] for phase in phases),
        client_us=statistics.median(phase["client_us"] for phase in phases),
        server_us=statistics.median(phase["server_us"] for phase in phases),
        client_cores=statistics.median(phase["client_cores"] for phase in phases),
        server_cores=statistics.median(phase["server_cores"] for phase in phases),
        idle_cores=statistics.median(phase["idle_cores"] for phase in phases),
    )


def find_limit(phase: Phase, processes: int) -> str:
    """Return what kept a phase from being faster."""
    if phase["client_cores"] >= BUSY * processes:
        return "processes"
    if phase["client_cores"] + phase["server_cores"] >= BUSY * _CORES:
        return "machine"
    return "server" if phase["idle_cores"] >= (1 - BUSY) * _CORES else "others"


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    """Print the table, and where the server is the limit."""
    table = Table(
        title=f"{JOBS:,} jobs, concurrency {CONCURRENCY} in each process; medians of {ROUNDS} rounds"
    )
    for column in (
        "servers",
        "what",
        "processes",
        "per s",
        "of one",
        "client µs",
        "server µs",
        "cores",
        "of server",
        "idle",
        "limit",
    ):
        table.add_column(column, justify="left" if column in {"servers", "what", "limit"} else "right")
    for row in rows:
        phase = row["phase"]
        table.add_row(
            row["servers"],
            row["what"],
            str(row["processes"]),
            f"{phase['per_second']:,.0f}",
            f"{row['of_one']:.2f}",
            f"{phase['client_us']:,.0f}",
            f"{phase['server_us']:,.0f}",
            f"{phase['client_cores']:.2f}",
            f"{phase['server_cores']:.2f}",
            f"{phase['idle_cores']:.2f}",
            row["limit"],
            end_section=row["processes"] == PROCESSES[-1],
        )
    console.print(table)
    console.print(
        f"publishes: acknowledged, by nats-py alone. cores, of server, idle: how many of the {_CORES} the processes and the servers kept busy, and how many no program"
    )
    for name in dict.fromkeys(row["servers"] for row in rows):
        console.print(describe_limit([row for row in rows if row["servers"] == name]))


def describe_limit(rows: Sequence[Row]) -> str:
    """Return where the limit of the servers is, from the CPU time of a job and the highest rate of acked publishes."""
    worked = [row["phase"] for row in rows if row["what"] == "jobs"]
    taken = max(row["phase"]["per_second"] for row in rows if row["what"] == "publishes") / EVENTS_PER_JOB
    best = max(phase["per_second"] for phase in worked)
    server_us = worked[0]["server_us"]
    return (
        f"{rows[0]['servers']}: {best:,.0f} jobs/s at most, {best / taken:.2f} of the {taken:,.0f}/s whose events it takes from nats-py "
        f"on this machine. By its CPU time, a core of the servers is busy with {1e6 / server_us:,.0f} jobs/s, from "
        f"{worked[0]['client_us'] / server_us:.1f} cores of workers"
    )


async def measure_all() -> list[Row]:
    """Measure one server, then the cluster."""
    rows: list[Row] = []
    for name in ("1 server", "3 servers"):
        async with prepare(name) as bed:
            rows += await compare(bed)
    return rows


def main() -> None:
    """Print the table, and write the figures as JSON next to this file."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    load, began = os.getloadavg()[0], time.perf_counter()
    rows = asyncio.run(measure_all())
    print_rows(console, rows)
    console.print(
        f"{describe_machine()}; load {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end; "
        f"{time.perf_counter() - began:.0f} s"
    )
    figures = {"machine": describe_machine(), "load": load, "rows": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
