"""What every column does, in the same words: the payload, how jobs are created, and what is counted.

Only the standard library: the columns run in environments of their own.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, TypedDict

TEXT: Final = "x" * 170
"""Makes a payload of about 200 bytes together with a number and the names."""
IN_FLIGHT: Final = 64
"""Creations in flight, as in bench_jobs.py."""
IDLE: Final = 50
"""Jobs that are created one by one on an idle queue."""
_POLL_SECONDS: Final = 0.002


class Rates(TypedDict):
    """What one run has measured."""

    created: float
    """Jobs per second that were accepted, with `IN_FLIGHT` at a time."""
    worked: float
    """Jobs per second, from starting the worker until the server holds none that is unfinished."""
    idle_ms: float
    """The median of milliseconds from creating a job on an idle queue to its handler."""


class Handled:
    """Counts what the handler of a column has been called with."""

    def __init__(self, jobs: int) -> None:
        self._left = jobs
        self._all = asyncio.Event()
        self._one = asyncio.Event()
        self.at = 0.0

    def count(self) -> None:
        """Count a handled job."""
        self.at = time.perf_counter()
        self._left -= 1
        if self._left == 0:
            self._all.set()
        self._one.set()

    async def all(self) -> None:
        """Wait until the handler has been called for all jobs."""
        await self._all.wait()

    async def latency_ms(self, create: Callable[[int], Awaitable[object]]) -> float:
        """Create jobs one by one; the median of milliseconds until the handler begins."""
        taken: list[float] = []
        for number in range(IDLE):
            self._one.clear()
            began = time.perf_counter()
            await create(number)
            await self._one.wait()
            taken.append((self.at - began) * 1000)
        return statistics.median(taken)


async def measured(
    jobs: int,
    *,
    handled: Handled,
    create: Callable[[int], Awaitable[object]],
    start: Callable[[], Awaitable[object]],
    unfinished: Callable[[], Awaitable[int]],
) -> Rates:
    """Create all jobs, then start the worker and wait until the server holds none that is unfinished.

    Args:
        jobs: how many.
        handled: what the handler counts with.
        create: creates the job of a number.
        start: starts the worker.
        unfinished: asks the server how many jobs wait or are not acknowledged.
    """
    began = time.perf_counter()
    for first in range(0, jobs, IN_FLIGHT):
        await asyncio.gather(*(create(number) for number in range(first, min(first + IN_FLIGHT, jobs))))
    created = time.perf_counter()
    await start()
    await handled.all()
    await _none(unfinished)
    ended = time.perf_counter()
    idle_ms = await handled.latency_ms(create)
    await _none(unfinished)
    return Rates(created=jobs / (created - began), worked=jobs / (ended - created), idle_ms=idle_ms)


async def _none(unfinished: Callable[[], Awaitable[int]]) -> None:
    while await unfinished():  # noqa: ASYNC110 - the server is asked, there is no event
        await asyncio.sleep(_POLL_SECONDS)


def report(column: Callable[..., Coroutine[None, None, Rates]]) -> None:
    """Run a column with the arguments of the command line, a URL and numbers; print its rates as JSON."""
    url, *numbers = sys.argv[1:]
    sys.stdout.write(json.dumps(asyncio.run(column(url, *map(int, numbers)))) + "\n")
