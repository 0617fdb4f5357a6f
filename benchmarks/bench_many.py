"""How near is `create_many` to what the server can store?

One process and one server with file storage, 200-byte payloads. Every column stores the same messages in stream JOBS, which
the server copies to the work stream: `create_many`; nats-py's own atomic batches of a thousand, and its acknowledged
publishes, 500 at a time; and messages that were encoded before the clock starts, in atomic batches and in one fast batch
(nats-server 2.14), without and with message ids. Each has a process and a server of its own; the order is reversed in
every second round. Figures are medians. BENCH_JOBS and BENCH_ROUNDS make it shorter.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final, cast

from durable.many import COLUMNS  # type: ignore[import-not-found]  # neighbours, which scripts find
from durable.meter import Measured, Meter  # type: ignore[import-not-found]  # likewise
from machine import describe_machine  # type: ignore[import-not-found]  # likewise
from rich.console import Console
from rich.table import Table
from trellis_nats.testing import NatsServer

ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "5"))
JOBS: Final = int(os.environ.get("BENCH_JOBS", "20000"))


def measure(column: str) -> Measured:
    """Store the jobs in one way, with a process and a server of its own."""
    with NatsServer() as server:
        command = [sys.executable, __file__, column, server.url, str(server.pid)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - this script
    return cast("Measured", json.loads(done.stdout))


def main() -> None:
    """Print the table, and write the figures as JSON next to this file."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    names = list(COLUMNS)
    rounds = [
        {name: measure(name) for name in (names if number % 2 == 0 else reversed(names))}
        for number in range(ROUNDS)
    ]
    table = Table(title=f"{JOBS:,} jobs of 200 bytes stored at once; medians of {ROUNDS} rounds")
    for heading in ("way", "jobs/s", "client µs", "server µs"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    figures: dict[str, dict[str, float]] = {}
    for name in names:
        figures[name] = {
            "jobs_per_second": statistics.median(each[name]["jobs_per_second"] for each in rounds),
            "client_us": statistics.median(each[name]["client_us"] for each in rounds),
            "server_us": statistics.median(each[name]["server_us"] or 0 for each in rounds),
        }
        per_second, client, server = figures[name].values()
        table.add_row(name, f"{per_second:,.0f}", f"{client:.1f}", f"{server:.1f}")
    console.print(table)
    console.print(f"{describe_machine()}; load {os.getloadavg()[0]:.1f} at the end")
    written = {"machine": describe_machine(), "ways": figures}
    Path(__file__).with_suffix(".json").write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        name, url, pid = sys.argv[1:]
        print(json.dumps(asyncio.run(COLUMNS[name](url, JOBS, Meter(int(pid))))))
    else:
        main()
