"""How fast are jobs compared with taskiq-nats, FastStream and arq? docs/comparison.md lists what those leave out.

Each figure is of one process that creates 200-byte jobs, then works them, on a server of its own; the systems take turns
in each round, and ratios are taken round by round. What is not installed is left out and named.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TypedDict

from peers.columns import OURS, PEERS, Column, left_out  # type: ignore[import-not-found]  # a neighbour, which scripts find
from peers.versions import Setting, setting  # type: ignore[import-not-found]  # likewise
from peers.workload import IN_FLIGHT, Rates  # type: ignore[import-not-found]  # likewise
from rich.console import Console
from rich.table import Table

JOBS = 3_000
ROUNDS = 3
CONCURRENCY = (1, 16, 256)


class Row(TypedDict):
    """Medians of one system at one concurrency."""

    system: str
    concurrency: int
    created: float
    worked: float
    idle_ms: float
    ratio: float
    """Ours in jobs worked per second, divided by this system's in the same round."""


class Figures(TypedDict):
    """What is written as JSON."""

    setting: Setting
    jobs: int
    rounds: int
    in_flight: int
    rows: list[Row]
    left_out: list[str]


def rows_at(concurrency: int, columns: list[Column]) -> list[Row]:
    """Let the systems take turns; one row for each."""
    rounds: list[dict[str, Rates]] = [
        {column.name: column.measure(jobs=JOBS, concurrency=concurrency) for column in columns}
        for _ in range(ROUNDS)
    ]
    return [
        Row(
            system=column.name,
            concurrency=concurrency,
            created=statistics.median(rates[column.name]["created"] for rates in rounds),
            worked=statistics.median(rates[column.name]["worked"] for rates in rounds),
            idle_ms=statistics.median(rates[column.name]["idle_ms"] for rates in rounds),
            ratio=statistics.median(
                rates[OURS.name]["worked"] / rates[column.name]["worked"] for rates in rounds
            ),
        )
        for column in columns
    ]


def main() -> None:
    """Print the table, and write the figures as JSON next to this file."""
    console = Console()
    for line in left_out():
        console.print(line, highlight=False)
    columns = [column for column in PEERS if column.missing is None]
    if not columns:
        return
    made_on = setting()
    rows = [row for concurrency in CONCURRENCY for row in rows_at(concurrency, [OURS, *columns])]
    table = Table(title=f"{JOBS} jobs of 200 bytes, medians of {ROUNDS} alternating rounds")
    for heading in ("concurrency", "system", "created/s", "worked/s", "ours/theirs", "idle create→start"):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for row in rows:
        table.add_row(
            str(row["concurrency"]),
            row["system"],
            f"{row['created']:,.0f}",
            f"{row['worked']:,.0f}",
            "" if row["system"] == OURS.name else f"{row['ratio']:.2f}",
            f"{row['idle_ms']:.2f} ms",
        )
    console.print(table)
    console.print(f"{made_on['machine']}, {made_on['date']}; {made_on['versions']}", highlight=False)
    console.print("what each leaves out: docs/comparison.md", highlight=False)
    figures = Figures(
        setting=made_on, jobs=JOBS, rounds=ROUNDS, in_flight=IN_FLIGHT, rows=rows, left_out=left_out()
    )
    Path(__file__).with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
