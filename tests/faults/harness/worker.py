"""A worker of the mill in a process of its own, which writes down when each of its handlers begins and ends.

Run as `python -m tests.faults.harness.worker SETTINGS`, the settings as JSON. It says `works` when it pulls, and on
stderr what the runtime logs. SIGTERM stops it.
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
from tests.faults.harness.mill import Flour, GrainJob, Mill
from tests.faults.harness.signs import Trail
from tests.faults.mutants import MUTANTS
from tests.support.eventually import eventually

__all__ = ["Settings", "worked"]


_READY_WITHIN: Final = timedelta(seconds=60)
"""The server may be away at first."""


class Settings(BaseModel):
    """How a worker process works."""

    url: str
    history: Path
    queues: tuple[str, ...] = ("grind",)
    concurrency: int = 20
    """Handlers at a time in each queue."""
    grace: float = 5
    """Seconds that handlers are given at SIGTERM."""
    request_timeout: float = 5
    """Seconds that a write or read waits for its answer."""
    rescue_every: float = 60
    """Seconds between two searches for lost jobs."""
    lost_after: float = 60
    """Seconds after which a job without a work message is lost."""
    lease: float = 30
    """Seconds that the service may be without a leader."""
    mutant: str = ""
    """The fault that the runtime is given, by its name in `tests/faults/mutants.py`; empty: none."""

    def options(self) -> Options:
        """Return what the runtime takes of them."""
        return Options(
            shutdown_grace=timedelta(seconds=self.grace),
            request_timeout=timedelta(seconds=self.request_timeout),
            connect_timeout=timedelta(seconds=20),
            maintenance=Maintenance(
                rescue_every=timedelta(seconds=self.rescue_every),
                lost_after=timedelta(seconds=self.lost_after),
                lease=timedelta(seconds=self.lease),
            ),
        )


def worked(mill: Mill, settings: Settings, history: HistoryFile) -> None:
    """Register the handler of each queue."""
    for name in settings.queues:
        handler = _handler(name, history)
        mill.jobs.of(name).handle(concurrency=settings.concurrency)(handler)


def _handler(queue: str, history: HistoryFile) -> Callable[[GrainJob], Coroutine[None, None, Flour]]:
    async def work(job: GrainJob) -> Flour:
        with _written(history, job, queue):
            if job.payload.heeds:
                async with asyncio.timeout(job.payload.seconds):
                    await job.cancelled.wait()
            elif job.payload.blocks:
                time.sleep(job.payload.seconds)  # noqa: ASYNC251 - it blocks on purpose
            elif job.payload.seconds:
                await asyncio.sleep(job.payload.seconds)
            if job.tries <= job.payload.raises:
                raise RuntimeError(f"as told, in try {job.tries}")
        return Flour(tries=job.tries)

    return work


@contextlib.contextmanager
def _written(history: HistoryFile, job: GrainJob, queue: str) -> Generator[None]:
    history.write(What.ENTER, job.id, tries=job.tries, queue=queue)
    how = "interrupted"
    try:
        yield
        how = "returned"
    except Exception:
        how = "raised"
        raise
    finally:
        history.write(What.EXIT, job.id, tries=job.tries, queue=queue, how=how)


async def main(settings: Settings) -> None:
    """Work until SIGTERM."""
    if settings.mutant:
        MUTANTS[settings.mutant](pytest.MonkeyPatch())
    history = HistoryFile(settings.history)
    Trail(history).follow()
    async with Mill.connect(settings.url, options=settings.options()) as mill:
        worked(mill, settings, history)
        history.write(What.WORKS, concurrency=settings.concurrency)
        saying = asyncio.create_task(_say_when_ready(mill))
        await mill.run()
        saying.cancel()


async def _say_when_ready(mill: Mill) -> None:
    async def is_ready() -> bool:
        return (await mill.health.report()).ready

    await eventually(is_ready, within=_READY_WITHIN)
    sys.stdout.write("works\n")
    sys.stdout.flush()


if __name__ == "__main__":
    stderr = logging.StreamHandler()
    stderr.setLevel(logging.WARNING)
    logging.basicConfig(handlers=[stderr], format="%(relativeCreated)d %(name)s %(message)s")
    asyncio.run(main(Settings.model_validate_json(sys.argv[1])))
