"""What do signed calls cost, compared with the same calls in open mode?

First the parts: processor time in this process, the best of several runs. Then round trips, client and service in one process, on
a server of its own; the two modes take turns in each round, and ratios are taken round by round.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time, time
from timeit import repeat
from typing import Final, cast

from bench_surfaces import CALLS, call_rates  # type: ignore[import-not-found]  # a neighbour, which scripts find
from machine import describe_machine  # type: ignore[import-not-found]  # likewise
from rich.console import Console
from rich.table import Table
from trellis_nats import CallersFile, SessionKey
from trellis_nats.auth import Signer
from trellis_nats.auth.replays import ReplayCache
from trellis_nats.auth.request_proof import read_proof

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from calls_signed import CALLERS, write_callers  # type: ignore[import-not-found]

ROUNDS: Final = 5
RUNS: Final = 5
OPERATIONS: Final = 2_000
SUBJECT: Final = "rpc.v1.Bench.Echo"
BODY: Final = b'{"customerId":"customer-000001","items":[{"productId":"product-1","quantity":1}]}' + b" " * 68
REQUEST_ID: Final = "01M8KT1SQRNQ61FVVWXTVD0ATW"


def parts() -> list[tuple[str, float]]:
    """Return the parts of a signed call, each in microseconds."""
    key = SessionKey.generate()
    signer = Signer(key)
    headers = {**signer.headers(SUBJECT, BODY, REQUEST_ID), "request-id": REQUEST_ID}
    proof = read_proof(headers, SUBJECT, BODY)
    cache, numbers = ReplayCache(), iter(range(10**9))
    with tempfile.TemporaryDirectory() as folder:
        callers = cast("CallersFile", write_callers(Path(folder), key))

        async def judge() -> None:
            for _ in range(OPERATIONS):
                await callers.judge(proof, ())

        return [
            ("the client signs", microseconds(lambda: signer.header_lines(SUBJECT, BODY, REQUEST_ID))),
            ("the service reads the proof", microseconds(lambda: read_proof(headers, SUBJECT, BODY))),
            ("it checks the signature", microseconds(proof.is_valid)),
            (
                "it remembers the request",
                microseconds(
                    lambda: cache.is_new(key.public, str(next(numbers)), at=time(), until=time() + 0.5)
                ),
            ),
            (
                f"it finds one of {CALLERS:,} callers",
                microseconds(lambda: asyncio.run(judge()), number=1) / OPERATIONS,
            ),
        ]


def microseconds(measured: Callable[[], object], *, number: int = OPERATIONS) -> float:
    """Return how long one takes."""
    return min(repeat(measured, timer=process_time, number=number, repeat=RUNS)) / number * 1e6


def parts_table() -> Table:
    """Show the parts."""
    table = Table(title="the parts of a signed call with a body of 150 bytes")
    table.add_column("part")
    table.add_column("µs", justify="right")
    for name, taken in parts():
        table.add_row(name, f"{taken:.1f}")
    return table


def calls_table() -> Table:
    """Compare round trips."""
    columns = {"open mode": "calls_with_trellis_nats.py", "signed": "calls_signed.py"}
    table = Table(title=f"round trips of an RPC, medians of {ROUNDS} alternating rounds")
    for heading in ("concurrency", "calls", "calls/s", "of open mode", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "calls" else "right")
    for concurrency in CALLS:
        rounds = [
            {name: call_rates(Path(sys.executable), script, concurrency) for name, script in columns.items()}
            for _ in range(ROUNDS)
        ]
        for name in columns:
            ratio = statistics.median(rates[name]["rate"] / rates["open mode"]["rate"] for rates in rounds)
            rate = statistics.median(rates[name]["rate"] for rates in rounds)
            p50 = statistics.median(rates[name]["p50_ms"] for rates in rounds)
            p99 = statistics.median(rates[name]["p99_ms"] for rates in rounds)
            table.add_row(str(concurrency), name, f"{rate:,.0f}", f"{ratio:.2f}", f"{p50:.2f}", f"{p99:.2f}")
    return table


def main() -> None:
    """Print the tables."""
    console = Console()
    console.print(describe_machine(), highlight=False)
    console.print(parts_table())
    console.print(calls_table())


if __name__ == "__main__":
    main()
