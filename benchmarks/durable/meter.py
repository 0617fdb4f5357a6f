"""Measures a phase of a benchmark: jobs per second, and the CPU time of client and server.

On a shared machine the same work takes 20 to 40 % longer in one round than in the next. So a fixed loop runs before and
after each phase, and `loop_ms` says how fast the machine was: two phases are compared by jobs per loop, not per second.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Final, TypedDict

__all__ = ["Measured", "Meter", "cpu_us", "per_loop", "run_fixed_loop"]

_LOOPS: Final = 20
_STEPS: Final = 300_000
_MICROSECONDS: Final = 1_000_000


class Measured(TypedDict):
    """One phase."""

    jobs_per_second: float
    client_us: float
    """Microseconds of CPU time per job, of the process that creates or works: all of its threads."""
    server_us: float | None
    """Likewise of nats-server; None where the system does not show it (only Linux does)."""
    loop_ms: float
    """How long the fixed loop took, on average before and after the phase."""


def per_loop(measured: Measured) -> float:
    """Return the jobs done in the time of one fixed loop."""
    return float(measured["jobs_per_second"] * measured["loop_ms"] / 1000)


def cpu_us(measured: Measured) -> float:
    """Return the microseconds of CPU time per job, of client and server."""
    return float(measured["client_us"] + (measured["server_us"] or 0))


def run_fixed_loop() -> float:
    """Return the milliseconds that a loop of fixed length takes on this machine now."""
    began = time.perf_counter()
    for _ in range(_LOOPS):
        total = 0
        for step in range(_STEPS):
            total += step & 7
    return (time.perf_counter() - began) * 1000


class Meter:
    """Measures one phase of this process, and of the server that it works with."""

    def __init__(self, server_pid: int) -> None:
        self._server = Path(f"/proc/{server_pid}/stat")
        self._loop_ms = 0.0
        self._wall = 0.0
        self._client = 0.0
        self._server_before: float | None = None

    def start(self) -> None:
        """Begin the phase."""
        self._loop_ms = run_fixed_loop()
        self._client, self._server_before = _own_cpu_seconds(), self._server_cpu_seconds()
        self._wall = time.perf_counter()

    def stop(self, jobs: int) -> Measured:
        """End the phase, in which `jobs` jobs were processed."""
        wall = time.perf_counter() - self._wall
        client, server = _own_cpu_seconds() - self._client, self._server_cpu_seconds()
        is_known = server is not None and self._server_before is not None
        return Measured(
            jobs_per_second=jobs / wall,
            client_us=client / jobs * _MICROSECONDS,
            server_us=((server or 0) - (self._server_before or 0)) / jobs * _MICROSECONDS
            if is_known
            else None,
            loop_ms=(self._loop_ms + run_fixed_loop()) / 2,
        )

    def _server_cpu_seconds(self) -> float | None:
        if not self._server.exists():
            return None
        # The fields after the name, which is in parentheses and may hold spaces: utime and stime are the 14th and 15th.
        fields = self._server.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
