"""The shop as a program for `python -m trellis_nats.run`, and such a group as a test sees it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from trellis_nats import Options

from tests.support.python_process import ROOT
from tests.support.shop import ParcelJob, Receipt, Shop


async def main() -> None:
    """Work until SIGTERM; a job takes as many seconds as its payload's number, and its result has the number of the process."""
    async with Shop.connect(os.environ["NATS_URL"], options=Options(health_listen="0")) as shop:

        @shop.jobs.pack.handle(concurrency=1)
        async def pack(job: ParcelJob) -> Receipt:
            await asyncio.sleep(job.payload.number)
            return Receipt(total=int(os.environ["TRELLIS_PROCESS"]))

        await shop.run()


class GroupedShop:
    """A group that runs `main`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []

    async def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line of its errors that matches.

        Raises:
            RuntimeError: all its processes ended without it.
        """
        if self.process.stderr is None:
            raise RuntimeError("the errors were not asked for")
        async for line in self.process.stderr:
            self.log.append(line.decode())
            if found := re.search(pattern, self.log[-1]):
                return found
        raise RuntimeError(f"no {pattern!r} in: {''.join(self.log)}")

    async def closed(self) -> None:
        """Wait until the group and all its processes have ended: they share one pipe."""
        if self.process.stderr is not None:
            self.log.append((await self.process.stderr.read()).decode())


@asynccontextmanager
async def grouped_shop(
    url: str, processes: int, *options: str, target: str = "tests.support.grouped_shop:main"
) -> AsyncGenerator[GroupedShop]:
    """Run a group for the length of an `async with` block; it is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trellis_nats.run", target, "--processes", str(processes), *options),
        cwd=ROOT,
        env={**os.environ, "NATS_URL": url},
        stderr=asyncio.subprocess.PIPE,
    )
    group = GroupedShop(process)
    try:
        yield group
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await group.closed()
