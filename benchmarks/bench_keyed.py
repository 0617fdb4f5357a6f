"""What does a concurrency key cost?

One server with file storage, 200-byte payloads. First, a job for each of many keys: created and worked in one process;
created in one process and worked in another one, where the keys recur; by hand with nats-py, by the same seven acknowledged
operations; and without keys. Each column has a process and a server of its own; the columns alternate, and their order is
reversed in every second round. Figures are medians of rounds, ratios medians of the ratios within a round, in jobs per fixed
loop (durable/meter.py), because the speed of a shared machine varies.

Then several connections ask for the hot key at the same time. What lies between two jobs of a busy key is measured
from a handler's end to the next one's beginning.

Environment variables:

- BENCH_BASELINE: the folder of another checkout; its runtime becomes more columns, "before".
- BENCH_ROUNDS, BENCH_KEYS: shorter runs; by default 5 rounds of 10,000 keys.
- BENCH_ONLY=speed: leave out the busy keys and the records of other keys.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, TypedDict
from unittest.mock import patch

from durable.keyed import OPTIONS, Bench, BenchJob, Payload, rate, slices  # type: ignore[import-not-found]  # neighbours, which scripts find
from durable.meter import Measured, Meter, cpu_us, per_loop  # type: ignore[import-not-found]  # likewise
from durable.phase_process import measure_phase  # type: ignore[import-not-found]  # likewise
from machine import describe_machine  # type: ignore[import-not-found]  # likewise
from rich.console import Console
from rich.table import Table
from trellis_nats import Accepted
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.errors import TransportError, WrongLastSequence
from trellis_nats.jobs.store.write_fate import WriteFate
from trellis_nats.testing import NatsServer

ROOT: Final = Path(__file__).parents[1]
BASELINE: Final = os.environ.get("BENCH_BASELINE")
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "5"))
KEYS: Final = int(os.environ.get("BENCH_KEYS", "10000"))
BUSY: Final = ((20, 10), (200, 2))
"""How many jobs of one key wait at first, and how often that is measured."""
SUBMISSIONS: Final = 300
SUBMITTERS: Final = (1, 10, 50)
STORED_KEYS: Final = (100, 1_000, 10_000, 100_000)
COST_JOBS: Final = 500
COLUMNS: Final = (
    ("keyed", "ours"),
    ("keyed elsewhere", "ours"),
    ("unkeyed", "ours"),
    *((("keyed", "before"), ("keyed elsewhere", "before"), ("unkeyed", "before")) if BASELINE else ()),
    ("keyed", "by hand"),
)
"""Phases, and by what they are run."""

Round = dict[tuple[str, str], Measured]


class Speed(TypedDict):
    """Medians of one column."""

    phase: str
    column: str
    jobs_per_second: float
    client_us: float
    server_us: float | None
    of_by_hand: float
    """Jobs per fixed loop, divided by those of the keyed jobs by hand in the same round."""
    of_unkeyed: float
    """Likewise, divided by those of our jobs without keys."""
    of_before: float | None
    """Likewise, divided by those of the same phase with the baseline."""
    cpu_of_before: float | None
    """CPU time of client and server per job, divided by that with the baseline; steadier than `of_before`."""


def measure(phase: str, column: str) -> Measured:
    """Run one phase of one column, with a process and a server of its own."""
    runtime = (Path(BASELINE) if BASELINE and column == "before" else ROOT) / "runtime"
    return measure_phase(column, phase, KEYS, 64, runtime=runtime)


def compare() -> list[Speed]:
    """Run the columns in turn; the order is reversed in every second round."""
    rounds: list[Round] = []
    for number in range(ROUNDS):
        order = COLUMNS if number % 2 == 0 else tuple(reversed(COLUMNS))
        rounds.append({column: measure(*column) for column in order})
    return [
        Speed(
            phase=phase,
            column=column,
            jobs_per_second=statistics.median(each[phase, column]["jobs_per_second"] for each in rounds),
            client_us=statistics.median(each[phase, column]["client_us"] for each in rounds),
            server_us=_median_or_none([each[phase, column]["server_us"] for each in rounds]),
            of_by_hand=_ratio(rounds, (phase, column), ("keyed", "by hand")),
            of_unkeyed=_ratio(rounds, (phase, column), ("unkeyed", "ours")),
            of_before=_ratio(rounds, (phase, column), (phase, "before"))
            if BASELINE and column == "ours"
            else None,
            cpu_of_before=statistics.median(
                cpu_us(each[phase, column]) / cpu_us(each[phase, "before"]) for each in rounds
            )
            if BASELINE and column == "ours"
            else None,
        )
        for phase, column in COLUMNS
    ]


def _ratio(rounds: list[Round], column: tuple[str, str], other: tuple[str, str]) -> float:
    return float(statistics.median(per_loop(each[column]) / per_loop(each[other]) for each in rounds))


def _median_or_none(found: list[float | None]) -> float | None:
    known = [value for value in found if value is not None]
    return statistics.median(known) if len(known) == len(found) else None


def print_speeds(console: Console, speeds: list[Speed]) -> None:
    """Print the jobs per second, the CPU time and the ratios of every column."""
    names = ("jobs", "by", "jobs/s", "client µs", "server µs", "of by hand", "of unkeyed")
    table = Table(title=f"{KEYS:,} jobs of 200 bytes, created and worked; medians of {ROUNDS} rounds")
    for name in (*names, *(["of before", "CPU of before"] if BASELINE else [])):
        table.add_column(name, justify="left" if name in {"jobs", "by"} else "right")
    for speed in speeds:
        server = speed["server_us"]
        before = [speed["of_before"], speed["cpu_of_before"]] if BASELINE else []
        table.add_row(
            speed["phase"],
            speed["column"],
            f"{speed['jobs_per_second']:,.0f}",
            f"{speed['client_us']:,.0f}",
            "-" if server is None else f"{server:,.0f}",
            f"{speed['of_by_hand']:.2f}",
            f"{speed['of_unkeyed']:.2f}",
            *("-" if value is None else f"{value:.2f}" for value in before),
        )
    console.print(table)


async def between_two_jobs(count: int) -> list[float]:
    """Return the milliseconds from a handler's end to the next one's beginning, of one key, over two connections.

    At first `count` jobs wait: the fewer they are, the smaller the record.
    """
    waits: list[float] = []
    with NatsServer() as server:
        async with (
            Bench.connect(server.url, options=OPTIONS) as bench,
            Bench.connect(server.url, options=OPTIONS) as other,
        ):
            ended: float | None = None
            done = asyncio.Event()

            async def work(_job: BenchJob) -> None:
                nonlocal ended
                at = time.perf_counter()
                if ended is not None:
                    waits.append((at - ended) * 1000)
                if len(waits) == count - 1:
                    done.set()
                await asyncio.sleep(0)
                ended = time.perf_counter()

            for each in (bench, other):
                each.jobs.keyed.handle(work)
            await asyncio.gather(*(bench.jobs.keyed.create(Payload(key=1)) for _ in range(count)))
            for each in (bench, other):
                await each.jobs.start_workers()
            await done.wait()
    return waits


async def submitted(submitters: int) -> tuple[float, float]:
    """Return how many jobs of one hot key are accepted per second, and how often a write came second, per admission."""
    conflicts, fail = 0, WriteFate.fail

    def counted(fate: WriteFate, error: TransportError) -> None:
        nonlocal conflicts
        conflicts += isinstance(error, WrongLastSequence)
        fail(fate, error)

    with NatsServer() as server, patch.object(WriteFate, "fail", counted):
        async with AsyncExitStack() as stack:
            benches = [
                await stack.enter_async_context(Bench.connect(server.url, options=OPTIONS))
                for _ in range(submitters)
            ]
            began = time.perf_counter()
            each = SUBMISSIONS // submitters
            outcomes = await asyncio.gather(*(one_after_another(bench, each) for bench in benches))
            taken = time.perf_counter() - began
    return sum(outcomes) / taken, conflicts / sum(outcomes)


async def one_after_another(bench: Bench, count: int) -> int:
    """Submit jobs of the hot key; return how many were accepted."""
    outcomes = [await bench.jobs.hot.submit(Payload(key=1)) for _ in range(count)]
    return sum(isinstance(outcome, Accepted) for outcome in outcomes)


async def main() -> None:
    """Print the tables, and write the figures as JSON next to this file."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(describe_machine())
    speeds = compare()
    print_speeds(console, speeds)
    figures: dict[str, object] = {"machine": describe_machine(), "speed": speeds}
    if os.environ.get("BENCH_ONLY") != "speed":
        figures |= await measure_busy_keys(console)
        figures["cost"] = await measure_stored_keys(console)
    Path(__file__).with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")


async def measure_busy_keys(console: Console) -> dict[str, object]:
    """Measure what lies between two jobs of one key, and how fast jobs of one key are accepted."""
    handed: list[tuple[int, float, float]] = []
    for count, times in BUSY:
        waits = [wait for _ in range(times) for wait in await between_two_jobs(count)]
        handed.append((count, statistics.median(waits), statistics.quantiles(waits, n=100)[98]))
        console.print(
            f"end to next start, {count} jobs of a key: p50 {handed[-1][1]:.2f} ms, p99 {handed[-1][2]:.2f} ms"
        )
    hot = Table("submitters of one key", "accepted/s", "conflicts per admission")
    rows = [(count, *await submitted(count)) for count in SUBMITTERS]
    for submitters, accepted, conflicts in rows:
        hot.add_row(str(submitters), f"{accepted:,.0f}", f"{conflicts:.2f}")
    console.print(hot)
    return {"handed": handed, "hot": rows}


async def measure_stored_keys(console: Console) -> list[tuple[int, Measured]]:
    """Measure jobs while the bucket holds the records of more and more keys."""
    costs = Table("keys", "jobs/s", "client µs", "server µs")
    found: list[tuple[int, Measured]] = []
    for keys in STORED_KEYS:
        measured = await measure_with_stored_keys(keys)
        found.append((keys, measured))
        server = measured["server_us"]
        costs.add_row(
            f"{keys:,}",
            f"{measured['jobs_per_second']:,.0f}",
            f"{measured['client_us']:,.0f}",
            "-" if server is None else f"{server:,.0f}",
        )
    console.print(costs)
    return found


async def measure_with_stored_keys(keys: int) -> Measured:
    """Measure jobs of 500 keys, a job each, while the bucket holds the records of other keys."""
    spread = range(COST_JOBS)
    with NatsServer() as server:
        async with Bench.connect(server.url, options=OPTIONS) as bench:
            queue, connection = bench.jobs.keyed, bench.jobs.runtime.connection
            for batch in slices(range(keys), 1_000):
                names = [f"$KV.JOBS_KEYS_keyed.keyed.other.{number:064x}" for number in batch]
                await asyncio.gather(*(publish_acked(connection, name, b"{}") for name in names))
            return await rate(bench, queue, spread, Meter(server.pid))


if __name__ == "__main__":
    asyncio.run(main())
