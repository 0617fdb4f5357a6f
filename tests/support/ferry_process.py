"""A worker of the ferry in a separate process, to be killed or stopped.

It prints `working` when it pulls, then `began <job> <attempt>` and `ended <job> <how>` for each handler. A handler takes as
many seconds as its payload says; a negative number blocks the event loop. One handler of queue `late` runs at a time, so
that while it runs, the process pulls no other job of that queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator
from datetime import timedelta

from trellis_nats import Options

from tests.support.ferry import CargoJob, Ferry, Stowed
from tests.support.python_process import python_process
from tests.support.shop_process import ShopProcess, say


async def main(url: str) -> None:
    """Work until SIGTERM."""
    async with Ferry.connect(url, options=Options(shutdown_grace=timedelta(milliseconds=200))) as ferry:
        for queue, concurrency in ((ferry.jobs.load, 8), (ferry.jobs.guarded, 8), (ferry.jobs.late, 1)):

            @queue.handle(concurrency=concurrency)
            async def work(job: CargoJob) -> Stowed:
                say("began", job.id, job.tries)
                how = "cancelled"
                try:
                    if job.payload.takes < 0:
                        time.sleep(-job.payload.takes)  # noqa: ASYNC251 - it blocks on purpose
                    await asyncio.sleep(max(0, job.payload.takes))
                    how = "returned"
                finally:
                    say("ended", job.id, how)
                return Stowed(number=job.payload.number)

        running = asyncio.create_task(ferry.run())
        say("working")
        await running


@contextlib.asynccontextmanager
async def ferry_process(url: str) -> AsyncGenerator[ShopProcess, None]:
    """Run a worker for the length of an `async with` block."""
    async with python_process("tests.support.ferry_process", url) as process:
        ferry = ShopProcess(process)
        await ferry.wait_for("working")
        yield ferry


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
