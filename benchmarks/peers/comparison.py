"""Writes the measured tables of docs/comparison.md: `python -m benchmarks.peers.comparison`, from the repository's root.

The figures are those of the last `bench_peers.py` and `make faults PEERS=1`; a table without figures is left as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .columns import OURS, PEERS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/comparison.md"
SPEED: Final = ROOT / "benchmarks/bench_peers.json"
FAULTS: Final = ROOT / "benchmarks/faults_peers.json"
_QUIET: Final = 1.5
"""The load of a machine on which little else runs; the systems themselves make about one."""


def main() -> None:
    """Rewrite each table, between its marks, whose figures have been measured."""
    page = PAGE.read_text(encoding="utf-8")
    for mark, source, written in (("speed", SPEED, speed), ("faults", FAULTS, faults)):
        if source.exists():
            page = replaced(page, mark, written(json.loads(source.read_text(encoding="utf-8"))))
        else:
            sys.stdout.write(f"{source.relative_to(ROOT)} is missing: the table of {mark} is left as it is\n")
    page = replaced(page, "columns", columns())
    PAGE.write_text(page, encoding="utf-8")


def replaced(page: str, mark: str, text: str) -> str:
    """Return the page with another text between the marks.

    Raises:
        ValueError: the page has not both marks.
    """
    begin, end = f"<!-- {mark}: written by benchmarks/peers/comparison.py -->\n", f"<!-- end of {mark} -->"
    before, after = page.split(begin, 1)
    return before + begin + text + end + after.split(end, 1)[1]


def speed(figures: dict[str, Any]) -> str:
    """Return the table of `bench_peers.json`."""
    head = (
        "concurrency",
        "system",
        "created/s",
        "worked/s",
        "ours / theirs, worked",
        "idle, create to start",
    )
    rows = [
        (
            str(row["concurrency"]),
            row["system"],
            f"{row['created']:,.0f}",
            f"{row['worked']:,.0f}",
            "" if row["system"] == OURS.name else f"{row['ratio']:.2f}",
            f"{row['idle_ms']:.2f} ms",
        )
        for row in figures["rows"]
    ]
    return (
        f"{figures['jobs']:,} jobs of 200 bytes, {figures['in_flight']} creations in flight; medians of "
        f"{figures['rounds']} alternating rounds, ratios taken round by round.\n{made_on(figures['setting'])}\n\n"
        f"{table(head, rows)}"
    )


def faults(figures: dict[str, Any]) -> str:
    """Return the table of `faults_peers.json`."""
    head = (
        "system",
        "runs of the job of 2.7 ack waits",
        "away 4 s: next job begins",
        "old producer's job accepted",
        "away 150 s: next job begins",
        "old producer's job accepted",
    )
    empty: dict[str, Any] = {}
    rows = [
        (
            name,
            str(run["runs"]),
            *(
                after(figures.get(outage, empty).get(name), what)
                for outage in ("outage_4", "outage_150")
                for what in ("worked", "accepted")
            ),
        )
        for name, run in figures["double_run"].items()
    ]
    return f"{made_on(figures['setting'])}\n\n{table(head, rows)}"


def after(outage: dict[str, float | int | None] | None, what: str) -> str:
    """Write after how many seconds it happened, or that it did not."""
    if outage is None:
        return "not measured"
    seconds = outage[what]
    if what == "accepted":
        return "not within 120 s" if seconds is None else f"after {seconds:.1f} s"
    if seconds is not None:
        return f"after {seconds:.1f} s" + (", in a new process" if outage["new_process"] else "")
    ended = outage["exit_code"]
    return "not within 120 s" + ("" if ended is None else f"; the worker ended with code {ended}")


def columns() -> str:
    """Return what each system was set to, and what it leaves out, as `bench_peers.py` runs it."""
    head = ("system", "configured differently from the defaults", "left out, compared with trellis-nats")
    return table(head, [(each.name, each.configured, each.leaves_out) for each in PEERS])


def made_on(setting: dict[str, Any]) -> str:
    """Return a sentence about the machine, the day and the versions."""
    versions = ", ".join(f"{name} {number}" for name, number in setting["versions"].items())
    busy = " Other work ran on the machine." if setting["load"] > _QUIET else ""
    return f"Measured on {setting['date']}, {setting['machine']} (load before: {setting['load']:.1f}); {versions}.{busy}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
