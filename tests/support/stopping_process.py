"""A worker of the shop in a process of its own, to be stopped in every state.

It prints `connected <health address>` and waits for a line; then it runs. It prints `began <job>` for each handler, which
takes as many seconds as the payload's number, `cancelled <job>` when that is cut short, and then takes a second more if
the payload's note says so. When its block has ended it says `ended`, and when the event loop is closed, `closed`; after
each it waits for a line where `lingers` was asked for. Its errors go to a file, where nothing may be left that a user would have to read.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

from trellis_nats import Options

from tests.support.python_process import PythonProcess, python_process
from tests.support.shop import ParcelJob, Receipt, Shop
from tests.support.shop_process import say

SLOW_TO_CLEAN = "slow to clean"
UNREADABLE = ("Traceback", "was destroyed", "never retrieved", "never awaited", "ResourceWarning")


async def main(url: str, grace: str, *, lingers: bool) -> None:
    """Work until SIGTERM."""
    options = Options(
        shutdown_grace=timedelta(seconds=float(grace)),
        health_listen="0",
        connect_timeout=timedelta(seconds=30),
    )
    async with Shop.connect(url, options=options) as shop:

        async def work(job: ParcelJob) -> Receipt:
            say("began", job.id)
            try:
                await asyncio.sleep(job.payload.number)
            except asyncio.CancelledError:
                say("cancelled", job.id)
                if job.payload.note == SLOW_TO_CLEAN:
                    await asyncio.sleep(1)
                raise
            return Receipt(total=job.tries)

        shop.jobs.pack.handle(work)
        shop.jobs.charge.handle(work)
        say("connected", shop.health.address)
        await asyncio.to_thread(sys.stdin.readline)
        asyncio.get_running_loop().call_soon(say, "runs")  # when `run` waits for the first time
        await shop.run()
    say("ended")
    if lingers:
        sys.stdin.readline()


class StoppingProcess:
    """The process, as the test sees it."""

    def __init__(self, process: PythonProcess, errors: Path) -> None:
        self.errors = errors
        self._process = process

    async def wait_for(self, word: str) -> list[str]:
        """Wait for the next line that begins with a word, and return its other words.

        Raises:
            RuntimeError: the process ended without it.
        """
        async for line in self._process.stdout:
            first, *rest = line.decode().split()
            if first == word:
                return rest
        raise RuntimeError(f'no "{word}"; on stderr: {self.errors.read_text()}')

    def go_on(self) -> None:
        """Let it run."""
        self._process.send_line()

    def send(self, which: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, unless the process has ended."""
        if self._process.returncode is None:
            self._process.send_signal(which)

    async def ended(self, within: float) -> None:
        """Wait until the process has ended, and check that it ended well.

        Raises:
            AssertionError: it did not end in time, or with another code than 0, or left something to read.
        """
        async with asyncio.timeout(within):
            code = await self._process.wait()
        left = self.errors.read_text()
        unreadable = [words for words in UNREADABLE if words in left]
        if code != 0 or unreadable:
            raise AssertionError(f"code {code}, and on stderr:\n{left}")


@contextlib.asynccontextmanager
async def stopping_process(
    url: str, *, grace: float = 30, lingers: bool = False
) -> AsyncGenerator[StoppingProcess, None]:
    """Run a worker within an `async with` block, in Python's development mode, so that asyncio reports all that is left."""
    with tempfile.NamedTemporaryFile() as errors:
        arguments = (url, grace, lingers)
        async with python_process(
            "tests.support.stopping_process", *arguments, is_developed=True, errors=errors.fileno()
        ) as process:
            yield StoppingProcess(process, Path(errors.name))


if __name__ == "__main__":
    LINGERS = sys.argv[3] == "True"
    asyncio.run(main(sys.argv[1], sys.argv[2], lingers=LINGERS))
    say("closed")
    if LINGERS:
        sys.stdin.readline()
