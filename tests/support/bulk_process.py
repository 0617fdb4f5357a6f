"""A process that runs a bulk action, to be killed. It prints `sent <number>` for each step."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import trellis_admin
from trellis_admin.bulk import BulkRecord

ROOT = Path(__file__).parents[2]
LEASE = timedelta(seconds=1.5)
"""Short, so that a test does not wait long after a kill."""


def show(record: BulkRecord) -> None:
    """Print how far it is."""
    sys.stdout.write(f"sent {record.sent}\n")
    sys.stdout.flush()


async def main(url: str, db: str, bulk_id: str) -> None:
    """Run the bulk action."""
    async with trellis_admin.connect(url, actor="second", db=Path(db)) as operator:
        operator.bulk.lease = LEASE
        await operator.bulk.run(bulk_id, on_progress=show)


@contextlib.asynccontextmanager
async def bulk_process(url: str, db: Path, bulk_id: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run it in a process of its own for the length of an `async with` block; it is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.bulk_process", url, str(db), bulk_id),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until_sent(process: asyncio.subprocess.Process, number: int) -> None:
    """Wait until the process has sent so many jobs.

    Raises:
        RuntimeError: it ended first.
    """
    if process.stdout is None:
        raise RuntimeError("the process has no output")
    async for line in process.stdout:
        if int(line.split()[1]) >= number:
            return
    raise RuntimeError("the process ended first")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
