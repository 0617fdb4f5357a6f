"""Works jobs with a number of other objects alive, and prints what Python's garbage collector took of that as JSON.

Run as `python benchmarks/durable/collected.py URL SERVER_PID JOBS OBJECTS FREEZE THRESHOLD`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from typing import Final, TypedDict

sys.path.insert(0, str(Path(__file__).parents[1]))

from durable import ours  # type: ignore[import-not-found]  # neighbours, found by the line above
from durable.meter import Measured, Meter  # type: ignore[import-not-found]  # likewise
from trellis_nats._support.gc_tuning import tune_gc

CONCURRENCY: Final = 64
_OBJECTS_EACH: Final = 4


class Collected(TypedDict):
    """One run."""

    client_us: float
    """CPU time of the process for each job, in microseconds."""
    gc_us: float
    """The part of it that the collector took."""
    runs: int
    longest_ms: float
    """The longest run: nothing else happened in the process meanwhile."""
    full_ms: float
    """What a run takes that looks at all objects. Python makes one when the objects that survived have grown by a quarter."""


class Module:
    """Stands for what a program has imported and loaded: four objects that the collector looks at."""

    def __init__(self, number: int) -> None:
        self.members = {"functions": [number], "bases": (number, self)}


class CollectorMeter(Meter):  # type: ignore[misc]  # mypy does not find the neighbour
    """Also measures the collector."""

    def __init__(self, server_pid: int) -> None:
        super().__init__(server_pid)
        self.pauses: list[float] = []
        self._began = 0.0

    def start(self) -> None:
        """Begin the phase."""
        super().start()
        gc.callbacks.append(self._count)

    def stop(self, jobs: int) -> Measured:
        """End the phase."""
        gc.callbacks.remove(self._count)
        return super().stop(jobs)

    def _count(self, phase: str, _info: object) -> None:
        if phase == "start":
            self._began = time.process_time()
        else:
            self.pauses.append(time.process_time() - self._began)


async def measure(url: str, pid: int, jobs: int) -> Collected:
    """Work jobs."""
    meter = CollectorMeter(pid)
    measured = await ours.work(url, jobs, CONCURRENCY, meter)
    began = time.process_time()
    gc.collect()
    return Collected(
        client_us=measured["client_us"],
        gc_us=sum(meter.pauses) / (jobs - CONCURRENCY) * 1e6,
        runs=len(meter.pauses),
        longest_ms=max(meter.pauses, default=0.0) * 1000,
        full_ms=(time.process_time() - began) * 1000,
    )


def main() -> None:
    """Build the objects, set the collector, measure, and print."""
    url, pid, jobs, objects, freeze, threshold = sys.argv[1:]
    loaded = [Module(number) for number in range(int(objects) // _OBJECTS_EACH)]
    tune_gc(freeze=freeze == "True", threshold=int(threshold) or None)
    print(json.dumps(asyncio.run(measure(url, int(pid), int(jobs)))))
    del loaded


if __name__ == "__main__":
    main()
