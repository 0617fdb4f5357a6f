"""How fast are jobs, compared with the same JetStream operations written by hand with nats-py?

One process and one server with file storage, 200-byte payloads, the full durable lifecycle in every column: created,
started and completed acknowledged by JetStream, and the work message acknowledged and confirmed. What the hand-written
column leaves out is listed in durable/by_hand.py. Each phase has a process and a server of its own; the columns
alternate, and their order is reversed in every second round. Figures are medians of rounds. Ratios are medians of the
ratios within a round, in jobs per fixed loop (durable/meter.py), because the speed of a shared machine varies.

Environment variables:

- BENCH_BASELINE: the folder of another checkout; its runtime becomes a third column, "before".
- BENCH_ROUNDS, BENCH_JOBS: shorter runs; by default 7 rounds of 10,000 creations.
- BENCH_ONLY=speed: leave out the tables of create_many and of stored jobs.
- JOBS_STORED=1000000: another row, with this number of jobs already in the streams; it takes minutes.

What a user would choose instead (taskiq-nats, FastStream, arq) is measured by bench_peers.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

from durable import ours  # type: ignore[import-not-found]  # neighbours, which scripts find
from durable.meter import Measured, Meter, cpu_us, per_loop, run_fixed_loop  # type: ignore[import-not-found]  # likewise
from durable.phase_process import measure_phase  # type: ignore[import-not-found]  # likewise
from durable.stored import fill, resident_bytes  # type: ignore[import-not-found]  # likewise
from machine import describe_machine  # type: ignore[import-not-found]  # likewise
from rich.console import Console
from rich.table import Table
from trellis_nats.testing import NatsServer

try:
    import uvloop
except ImportError:  # the `uvloop` extra is not installed
    uvloop = None  # type: ignore[assignment]  # mypy has no type for a module that may be missing

ROOT: Final = Path(__file__).parents[1]
BASELINE: Final = os.environ.get("BENCH_BASELINE")
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "7"))
CREATED: Final = int(os.environ.get("BENCH_JOBS", "10000"))
WORKED: Final = CREATED // 2
"""Working a job takes several times as long as creating one."""
WORKED_AT: Final = {1: CREATED // 5, 16: WORKED, 256: WORKED}
"""How many jobs are worked, by concurrency. At 1, less than 4 MB wait: with more, servers from 2.12 on read a file of 4 MB
again for each acknowledgement while exactly two messages are unacknowledged (docs/guides/nats-server.md)."""
STORED: Final = (0, 10_000, *(int(text) for text in os.environ.get("JOBS_STORED", "").split()))
STORED_JOBS: Final = 3_000
STORED_ROUNDS: Final = 3
STORED_CONCURRENCY: Final = 16

RUNTIMES: Final = {
    "ours": ROOT / "runtime",
    **({"before": Path(BASELINE) / "runtime"} if BASELINE else {}),
}
COLUMNS: Final = (*RUNTIMES, "by hand")

T = TypeVar("T")
Round = dict[str, Measured]


class Speed(TypedDict):
    """Medians of one column in one phase."""

    phase: str
    concurrency: int
    column: str
    jobs_per_second: float
    client_us: float
    server_us: float | None
    of_by_hand: float
    """Jobs per fixed loop, divided by those of the hand-written column in the same round."""
    of_before: float | None
    """Likewise, divided by those of the baseline."""
    cpu_of_by_hand: float
    """CPU time of client and server per job, divided by that of the hand-written column; steadier than `of_by_hand`."""


class Held(TypedDict):
    """Medians with a number of jobs stored already."""

    stored: int
    worked: float
    of_empty: float
    """The jobs per second, divided by those of empty streams in the same round."""
    create_p50_ms: float
    create_p99_ms: float
    start_p50_ms: float
    start_p99_ms: float
    server_bytes: int | None
    bytes_per_stored_job: float | None
    client_bytes: int | None


def run(work: Coroutine[Any, Any, T]) -> T:  # Any: what a coroutine is sent, nothing
    """Run on an event loop of its own."""
    with asyncio.Runner() as runner:
        return runner.run(work)


def measure(column: str, phase: str, jobs: int, concurrency: int, *, loop: str = "asyncio") -> Measured:
    """Run one phase of one column, with a process and a server of its own."""
    runtime = RUNTIMES.get(column, RUNTIMES["ours"])
    return measure_phase(column, phase, jobs, concurrency, runtime=runtime, loop=loop)


def compare(phase: str, jobs: int, concurrency: int) -> list[Speed]:
    """Run the columns in turn; the order is reversed in every second round."""
    rounds: list[Round] = []
    for number in range(ROUNDS):
        order = COLUMNS if number % 2 == 0 else tuple(reversed(COLUMNS))
        rounds.append({column: measure(column, phase, jobs, concurrency) for column in order})
    return [
        Speed(
            phase=phase,
            concurrency=concurrency,
            column=column,
            jobs_per_second=statistics.median(columns[column]["jobs_per_second"] for columns in rounds),
            client_us=statistics.median(columns[column]["client_us"] for columns in rounds),
            server_us=_median_or_none([columns[column]["server_us"] for columns in rounds]),
            of_by_hand=ratio(rounds, column, "by hand"),
            of_before=ratio(rounds, column, "before") if BASELINE else None,
            cpu_of_by_hand=statistics.median(
                cpu_us(columns[column]) / cpu_us(columns["by hand"]) for columns in rounds
            ),
        )
        for column in COLUMNS
    ]


def ratio(rounds: list[Round], column: str, other: str) -> float:
    """Return how many jobs a column does per fixed loop, divided by those of another column."""
    return float(
        statistics.median(per_loop(columns[column]) / per_loop(columns[other]) for columns in rounds)
    )


def _median_or_none(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def measure_uvloop() -> tuple[float, float] | None:
    """Return the jobs per second at concurrency 16 without and with uvloop, in as many rounds."""
    if uvloop is None:
        return None
    rounds = [
        [per_loop(measure("ours", "worked", WORKED, 16, loop=loop)) for loop in ("asyncio", "uvloop")]
        for _ in range(STORED_ROUNDS)
    ]
    return statistics.median(each[0] for each in rounds), statistics.median(each[1] for each in rounds)


def measure_stored() -> list[Held]:
    """Fill servers, all running at the same time, and measure them in turn."""
    with ExitStack() as stack:
        servers = [stack.enter_context(NatsServer()) for _ in STORED]
        empty = [resident_bytes(server.pid) for server in servers]
        for server, stored in zip(servers, STORED, strict=True):
            run(fill(server.url, stored))
        full = [resident_bytes(server.pid) for server in servers]
        rounds = [
            [
                per_loop(run(ours.work(server.url, STORED_JOBS, STORED_CONCURRENCY, Meter(server.pid))))
                for server in servers
            ]
            for _ in range(STORED_ROUNDS)
        ]
        found = [run(ours.latencies(server.url)) for server in servers]
    loops_per_second = 1000 / run_fixed_loop()
    return [
        Held(
            stored=stored,
            worked=statistics.median(each[at] for each in rounds) * loops_per_second,
            of_empty=statistics.median(each[at] / each[0] for each in rounds),
            create_p50_ms=statistics.median(found[at].create),
            create_p99_ms=statistics.quantiles(found[at].create, n=100)[98],
            start_p50_ms=statistics.median(found[at].start),
            start_p99_ms=statistics.quantiles(found[at].start, n=100)[98],
            server_bytes=full[at],
            bytes_per_stored_job=_each(full[at], empty[at], stored),
            client_bytes=resident_bytes("self"),
        )
        for at, stored in enumerate(STORED)
    ]


def _each(full: int | None, empty: int | None, stored: int) -> float | None:
    return None if full is None or empty is None or not stored else (full - empty) / stored


def measure_many() -> tuple[float, float, float]:
    """Return the jobs per second of `create` after `create`, of `create_many`, and their ratio."""
    rounds: list[tuple[float, float]] = []
    for _ in range(STORED_ROUNDS):
        with NatsServer() as server:
            rounds.append(run(ours.creation(server.url, STORED_JOBS)))
    single, batch = (statistics.median(column) for column in zip(*rounds, strict=True))
    return single, batch, statistics.median(b / s for s, b in rounds)


def print_speeds(console: Console, speeds: list[Speed]) -> None:
    """Print the jobs per second, the CPU time and the ratios of every column."""
    table = Table(
        title=f"Jobs of 200 bytes: {CREATED:,} created, {WORKED:,} worked ({WORKED_AT[1]:,} at 1); medians of {ROUNDS} rounds"
    )
    columns = (
        "phase",
        "concurrency",
        "column",
        "jobs/s",
        "client µs",
        "server µs",
        "CPU of by hand",
        "of by hand",
    )
    for column in (*columns, *(["of before"] if BASELINE else [])):
        table.add_column(column, justify="left" if column in {"phase", "column"} else "right")
    for speed in speeds:
        before = speed["of_before"]
        server = speed["server_us"]
        table.add_row(
            speed["phase"],
            str(speed["concurrency"]),
            speed["column"],
            f"{speed['jobs_per_second']:,.0f}",
            f"{speed['client_us']:,.0f}",
            "-" if server is None else f"{server:,.0f}",
            f"{speed['cpu_of_by_hand']:.2f}",
            f"{speed['of_by_hand']:.2f}",
            *([] if before is None else [f"{before:.2f}"]),
            end_section=speed["column"] == COLUMNS[-1],
        )
    console.print(table)
    console.print("client µs, server µs: CPU time per job of the process and of nats-server")


def print_held(console: Console, holds: list[Held]) -> None:
    """Print what stored jobs cost."""
    table = Table(
        title=f"With finished jobs stored (created, completed), concurrency {STORED_CONCURRENCY}; p50 and p99 in ms"
    )
    names = (
        "stored",
        "worked/s",
        "of empty",
        "create",
        "p99",
        "→start",
        "p99",
        "server",
        "per job",
        "client",
    )
    for column in names:
        table.add_column(column, justify="right")
    for hold in holds:
        table.add_row(
            f"{hold['stored']:,}",
            f"{hold['worked']:,.0f}",
            f"{hold['of_empty']:.2f}",
            *(
                f"{hold[name]:.2f}"
                for name in ("create_p50_ms", "create_p99_ms", "start_p50_ms", "start_p99_ms")
            ),
            _mib(hold["server_bytes"]),
            "-" if hold["bytes_per_stored_job"] is None else f"{hold['bytes_per_stored_job']:,.0f} B",
            _mib(hold["client_bytes"]),
        )
    console.print(table)


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:,.0f} MiB"


def main() -> None:
    """Print the tables, and write the figures as JSON next to this file."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    load = os.getloadavg()[0]
    speeds = compare("created", CREATED, ours.IN_FLIGHT)
    for concurrency, worked in WORKED_AT.items():
        speeds += compare("worked", max(worked, 2 * concurrency), concurrency)
    print_speeds(console, speeds)
    figures: dict[str, object] = {"machine": describe_machine(), "load": load, "speed": speeds}
    if os.environ.get("BENCH_ONLY") != "speed":
        quick = measure_uvloop()
        if quick is not None:
            console.print(f"uvloop, worked at concurrency 16: {quick[1] / quick[0]:.2f} of asyncio")
        single, batch, times = measure_many()
        console.print(
            f"create, one after another: {single:,.0f}/s; create_many: {batch:,.0f}/s, {times:.1f} times"
        )
        holds = measure_stored()
        print_held(console, holds)
        figures |= {"create": single, "create_many": batch, "stored": holds}
    console.print(f"{describe_machine()}; load {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end")
    Path(__file__).with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
