"""How fast are jobs, against the same JetStream operations done by hand with nats-py?

One process and one server with file storage, 200-byte payloads, the full durable lifecycle in both columns: created,
started and completed acknowledged by JetStream, and the work message acknowledged and confirmed. What the hand-made
column leaves out stands in durable/by_hand.py. The columns take turns in each round, and ratios are medians of rounds.

JOBS_STORED=1000000 adds a round with so many jobs in the streams already; it takes minutes. What a user would pick
instead (taskiq-nats, FastStream, arq) is measured by bench_peers.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

from durable import by_hand, ours  # type: ignore[import-not-found]  # neighbours, which scripts find
from durable.stored import fill, resident_bytes  # type: ignore[import-not-found]  # likewise
from rich.console import Console
from rich.table import Table
from trellis_nats.testing import NatsServer

try:
    import uvloop
except ImportError:  # the `uvloop` extra is not installed: its column stays empty
    uvloop = None  # type: ignore[assignment]  # mypy has no type for a module that may be missing

JOBS: Final = 3_000
ROUNDS: Final = 5
CONCURRENCY: Final = (1, 16, 256)
STORED: Final = (0, 10_000, *(int(text) for text in os.environ.get("JOBS_STORED", "").split()))
STORED_CONCURRENCY: Final = 16

T = TypeVar("T")
Loop = Callable[[], asyncio.AbstractEventLoop]


class Speed(TypedDict):
    """Medians at one concurrency, in jobs per second."""

    concurrency: int
    worked: float
    worked_uvloop: float | None
    worked_by_hand: float
    ratio: float
    created: float
    created_by_hand: float


class Held(TypedDict):
    """Medians with so many jobs stored."""

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


def run(
    work: Coroutine[Any, Any, T], loop: Loop | None = None
) -> T:  # Any: what a coroutine is sent, nothing
    """Run on a loop of its own."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)


def speed(concurrency: int) -> Speed:
    """Let the columns take turns."""
    mine: list[ours.Rates] = []
    quick: list[ours.Rates] = []
    hand: list[ours.Rates] = []
    for _ in range(ROUNDS):
        with NatsServer() as server:
            mine.append(run(ours.rates(server.url, JOBS, concurrency)))
        with NatsServer() as server:
            hand.append(run(by_hand.rates(server.url, JOBS, concurrency)))
        if uvloop is not None:
            with NatsServer() as server:
                quick.append(run(ours.rates(server.url, JOBS, concurrency), uvloop.new_event_loop))
    return Speed(
        concurrency=concurrency,
        worked=statistics.median(each.worked for each in mine),
        worked_uvloop=statistics.median(each.worked for each in quick) if quick else None,
        worked_by_hand=statistics.median(each.worked for each in hand),
        ratio=statistics.median(m.worked / h.worked for m, h in zip(mine, hand, strict=True)),
        created=statistics.median(each.created for each in mine),
        created_by_hand=statistics.median(each.created for each in hand),
    )


def held() -> list[Held]:
    """Fill servers, all running at the same time, and let them take turns."""
    with ExitStack() as stack:
        servers = [stack.enter_context(NatsServer()) for _ in STORED]
        empty = [resident_bytes(server.pid) for server in servers]
        for server, stored in zip(servers, STORED, strict=True):
            run(fill(server.url, stored))
        full = [resident_bytes(server.pid) for server in servers]
        rounds = [
            [run(ours.rates(server.url, JOBS, STORED_CONCURRENCY)).worked for server in servers]
            for _ in range(ROUNDS)
        ]
        found = [run(ours.latencies(server.url)) for server in servers]
    return [
        Held(
            stored=stored,
            worked=statistics.median(each[at] for each in rounds),
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


def many() -> tuple[float, float, float]:
    """Return the jobs per second of `create` after `create`, of `create_many`, and their ratio."""
    rounds: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        with NatsServer() as server:
            rounds.append(run(ours.creation(server.url, JOBS)))
    single, batch = (statistics.median(column) for column in zip(*rounds, strict=True))
    return single, batch, statistics.median(b / s for s, b in rounds)


def main() -> None:
    """Print the tables, and write the figures as JSON beside this file."""
    console = Console()
    speeds = [speed(concurrency) for concurrency in CONCURRENCY]
    print_speeds(console, speeds)
    single, batch, times = many()
    console.print(
        f"create, one after another: {single:,.0f}/s; create_many: {batch:,.0f}/s, {times:.1f} times"
    )
    holds = held()
    print_held(console, holds)
    machine = (
        f"{os.cpu_count()} x {platform.processor() or platform.machine()}, Python {platform.python_version()}"
    )
    load = os.getloadavg()[0]
    console.print(f"{machine}, {platform.system()}; load of the last minute {load:.1f}")
    figures = {
        "machine": machine,
        "load": load,
        "speed": speeds,
        "create": single,
        "create_many": batch,
        "stored": holds,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")


def print_speeds(console: Console, speeds: list[Speed]) -> None:
    """Print the jobs per second of both columns."""
    table = Table(title=f"{JOBS} jobs of 200 bytes, medians of {ROUNDS} rounds, jobs per second")
    for column in ("concurrency", "worked", "uvloop", "by hand", "ratio", "created", "by hand"):
        table.add_column(column, justify="right")
    for row in speeds:
        quick = row["worked_uvloop"]
        table.add_row(
            str(row["concurrency"]),
            f"{row['worked']:,.0f}",
            "-" if quick is None else f"{quick:,.0f}",
            f"{row['worked_by_hand']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['created']:,.0f}",
            f"{row['created_by_hand']:,.0f}",
        )
    console.print(table)


def print_held(console: Console, holds: list[Held]) -> None:
    """Print what stored jobs cost."""
    table = Table(
        title=f"With finished jobs stored (created, completed), concurrency {STORED_CONCURRENCY}; p50 and p99 in ms"
    )
    for column in (
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
    ):
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


if __name__ == "__main__":
    main()
