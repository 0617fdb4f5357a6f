"""A worker of the shop in a process of its own, to be killed.

It prints `working` when it pulls, then `began <job> <attempt>` for each handler, which then takes as many seconds as the
payload's number says; a negative number blocks the event loop. With the note "checkpoint", the handler stores one first, and
the process prints `stored <job>`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator
from datetime import timedelta

from trellis_nats import Maintenance, Options

from tests.support.python_process import PythonProcess, python_process
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

LEASE = Maintenance().lease
HEARTBEAT_EVERY = Maintenance().heartbeat_every


def say(*words: object) -> None:
    """Print a line for the test."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(url: str, lease: timedelta, heartbeat_every: timedelta) -> None:
    """Work until SIGTERM."""
    maintenance = Maintenance(lease=lease, heartbeat_every=heartbeat_every)
    options = Options(shutdown_grace=timedelta(milliseconds=200), maintenance=maintenance)
    async with Shop.connect(url, options=options) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            say("began", job.id, job.tries)
            if job.payload.note == "checkpoint":
                await job.checkpoint(Parcel(number=job.tries))
                say("stored", job.id)
            if job.payload.number < 0:
                time.sleep(-job.payload.number)  # noqa: ASYNC251 - it blocks on purpose
            await asyncio.sleep(max(0, job.payload.number))
            return Receipt(total=job.tries)

        running = asyncio.create_task(shop.run())
        say("working")
        await running


class ShopProcess:
    """The process, as the test sees it."""

    def __init__(self, process: PythonProcess | asyncio.subprocess.Process) -> None:
        self.process = process

    async def wait_for(self, word: str) -> list[str]:
        """Wait for the next line that begins with a word, and return its other words.

        Raises:
            RuntimeError: the process ended without it.
        """
        if self.process.stdout is None:
            raise RuntimeError("the process has no output")
        async for line in self.process.stdout:
            first, *rest = line.decode().split()
            if first == word:
                return rest
        raise RuntimeError(f'the worker ended without saying "{word}"')


@contextlib.asynccontextmanager
async def shop_process(
    url: str, *, lease: timedelta = LEASE, heartbeat_every: timedelta = HEARTBEAT_EVERY
) -> AsyncGenerator[ShopProcess, None]:
    """Run a worker for the length of an `async with` block."""
    arguments = (url, lease.total_seconds(), heartbeat_every.total_seconds())
    async with python_process("tests.support.shop_process", *arguments) as process:
        shop = ShopProcess(process)
        await shop.wait_for("working")
        yield shop


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *(timedelta(seconds=float(seconds)) for seconds in sys.argv[2:])))
