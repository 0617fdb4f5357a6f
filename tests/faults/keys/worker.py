"""A worker of the harbour in a process of its own, which writes down when each of its handlers begins and ends.

Run as `python -m tests.faults.keys.worker SETTINGS`, the settings as JSON. It says `works` once it pulls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel
from trellis_nats import Maintenance, Options

from tests.faults.harness.history import HistoryFile, What
from tests.faults.harness.signs import Trail
from tests.faults.keys.crowding import MARGIN, STALLED
from tests.faults.keys.harbour import LEASE, QUEUES, BoatJob, Harbour, Moored
from tests.faults.keys.mutants import MUTANTS
from tests.support.eventually import eventually
from tests.support.shop_process import say

__all__ = ["WorkerSettings"]

_READY_WITHIN: Final = timedelta(seconds=60)
"""The server may be away at first."""
_TICK: Final = 0.05


class WorkerSettings(BaseModel):
    """How a worker process works."""

    url: str
    history: Path
    queues: tuple[str, ...] = QUEUES
    concurrency: int = 8
    """Handlers at a time in each queue."""
    mutant: str = ""
    """The fault that the runtime is given, by its name in `mutants.py`; empty: none."""

    def options(self) -> Options:
        """Return what the runtime takes of them."""
        seconds = timedelta(seconds=1)
        return Options(
            shutdown_grace=seconds,
            connect_timeout=20 * seconds,
            maintenance=Maintenance(rescue_every=5 * seconds, lost_after=10 * seconds, lease=3 * seconds),
        )


def _handler(queue: str, history: HistoryFile) -> Callable[[BoatJob], Coroutine[None, None, Moored]]:
    async def work(job: BoatJob) -> Moored:
        with _written(history, job, queue):
            if job.payload.seconds:
                await asyncio.sleep(job.payload.seconds)
            if job.tries <= job.payload.raises:
                raise RuntimeError(f"as told, in try {job.tries}")
        return Moored(tries=job.tries)

    return work


@contextlib.contextmanager
def _written(history: HistoryFile, job: BoatJob, queue: str) -> Generator[None]:
    history.write(What.ENTER, job.id, tries=job.tries, queue=queue, key=job.payload.berth)
    how = "interrupted"
    try:
        yield
        how = "returned"
    except Exception:
        how = "raised"
        raise
    finally:
        history.write(What.EXIT, job.id, tries=job.tries, queue=queue, key=job.payload.berth, how=how)


async def _write_stalls(history: HistoryFile) -> None:
    """Write down whenever the event loop did not run: the machine had no time for it, or the process stood still."""
    while True:
        before = time.monotonic_ns()
        await asyncio.sleep(_TICK)
        if time.monotonic_ns() - before > (_TICK + LEASE.total_seconds() * MARGIN) * 1e9:
            history.write(What.NEMESIS, fault=STALLED, since=before)


async def main(settings: WorkerSettings) -> None:
    """Work until SIGTERM."""
    if settings.mutant:
        MUTANTS[settings.mutant](pytest.MonkeyPatch())
    history = HistoryFile(settings.history)
    Trail(history).follow()
    async with Harbour.connect(settings.url, options=settings.options()) as harbour:
        for name in settings.queues:
            harbour.jobs.of(name).handle(concurrency=settings.concurrency)(_handler(name, history))
        history.write(What.WORKS, concurrency=settings.concurrency)
        background = [
            asyncio.create_task(each) for each in (_say_when_ready(harbour), _write_stalls(history))
        ]
        await harbour.run()
        for task in background:
            task.cancel()


async def _say_when_ready(harbour: Harbour) -> None:
    async def is_ready() -> bool:
        return (await harbour.health.report()).ready

    await eventually(is_ready, within=_READY_WITHIN)
    say("works")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(relativeCreated)d %(name)s %(message)s")
    asyncio.run(main(WorkerSettings.model_validate_json(sys.argv[1])))
