"""One phase of one column, in a process of its own: prints what was measured as JSON.

Run as `python benchmarks/durable/phase.py COLUMN PHASE URL SERVER_PID JOBS CONCURRENCY LOOP`. The runtime is the one that
Python finds, so that PYTHONPATH selects another source tree.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from durable import by_hand, keyed, ours  # type: ignore[import-not-found]  # neighbours, found by the line above
from durable.meter import Measured, Meter  # type: ignore[import-not-found]  # likewise

__all__ = ["measure"]


async def measure(column: str, phase: str, url: str, meter: Meter, jobs: int, concurrency: int) -> Measured:
    """Run a phase."""
    match column, phase:
        case "ours", "created":
            return await ours.create(url, jobs, meter)
        case "ours", "worked":
            return await ours.work(url, jobs, concurrency, meter)
        case "by hand", "created":
            return await by_hand.create(url, jobs, meter)
        case "by hand", "worked":
            return await by_hand.work(url, jobs, concurrency, meter)
        case "ours", "keyed":
            return await keyed.together(url, jobs, meter, pick="keyed")
        case "ours", "unkeyed":
            return await keyed.together(url, jobs, meter, pick="plain")
        case "ours", "keyed elsewhere":
            return await keyed.elsewhere(url, jobs, meter)
        case "by hand", "keyed":
            return await keyed.by_hand(url, jobs, meter)
        case _:
            raise ValueError(f"unknown phase: {column} {phase}")


def main() -> None:
    """Measure, and print."""
    column, phase, url, pid, jobs, concurrency, loop = sys.argv[1:]
    factory = None
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 - an optional package

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        measured = runner.run(measure(column, phase, url, Meter(int(pid)), int(jobs), int(concurrency)))
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
