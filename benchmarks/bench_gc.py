"""What does Python's garbage collector cost a worker, and what do `run(freeze_gc=…)` and `run(gc_threshold=…)` bring?

A small program has imported the runtime alone; a large one also holds a million objects. Each run has a process and a
server of its own. Times are CPU times, so that a busy machine changes them little.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple, cast

from durable.collected import Collected  # type: ignore[import-not-found]  # neighbours, which scripts find
from machine import describe_machine  # type: ignore[import-not-found]  # likewise
from rich.console import Console
from rich.table import Table
from trellis_nats.testing import NatsServer

COLLECTED: Final = Path(__file__).parent / "durable/collected.py"
JOBS: Final = int(os.environ.get("BENCH_JOBS", "4000"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "3"))
OBJECTS: Final = (0, 1_000_000)


class Setting(NamedTuple):
    """How the collector is set; a threshold of 0 leaves it."""

    freeze: bool
    threshold: int


SETTINGS: Final = (Setting(False, 0), Setting(True, 0), Setting(False, 10_000), Setting(True, 10_000))


def measure(setting: Setting, objects: int) -> Collected:
    """Work jobs in a process of their own."""
    with NatsServer() as server:
        arguments = (server.url, server.pid, JOBS, objects, *setting)
        done = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, COLLECTED, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
        )
    return cast("Collected", json.loads(done.stdout))


def main() -> None:
    """Print the table, and write the figures as JSON next to this file."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(
        title=f"{JOBS:,} jobs worked; medians of {ROUNDS} rounds, the longest of all runs of the collector, and one of all objects"
    )
    for column in (
        "objects",
        "freeze_gc",
        "gc_threshold",
        "client µs",
        "of that gc",
        "gc runs",
        "longest ms",
        "full ms",
    ):
        table.add_column(column, justify="right")
    figures: list[dict[str, object]] = []
    for objects in OBJECTS:
        found: dict[Setting, list[Collected]] = {setting: [] for setting in SETTINGS}
        for number in range(ROUNDS):
            for setting in SETTINGS if number % 2 == 0 else SETTINGS[::-1]:
                found[setting].append(measure(setting, objects))
        for setting, rounds in found.items():
            row = Collected(
                client_us=statistics.median(each["client_us"] for each in rounds),
                gc_us=statistics.median(each["gc_us"] for each in rounds),
                runs=int(statistics.median(each["runs"] for each in rounds)),
                longest_ms=max(each["longest_ms"] for each in rounds),
                full_ms=statistics.median(each["full_ms"] for each in rounds),
            )
            table.add_row(
                f"{objects:,}",
                str(setting.freeze),
                f"{setting.threshold:,}" if setting.threshold else "default",
                f"{row['client_us']:.0f}",
                f"{row['gc_us']:.1f}",
                str(row["runs"]),
                f"{row['longest_ms']:.1f}",
                f"{row['full_ms']:.1f}",
                end_section=setting is SETTINGS[-1],
            )
            figures.append({"objects": objects, **setting._asdict(), **row})
    console.print(table)
    console.print(f"{describe_machine()}; load {os.getloadavg()[0]:.1f} at the end")
    Path(__file__).with_suffix(".json").write_text(
        json.dumps({"machine": describe_machine(), "rows": figures}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
