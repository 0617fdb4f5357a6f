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

from tests.support.python_process import PythonProcess, python_process

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
async def bulk_process(url: str, db: Path, bulk_id: str) -> AsyncGenerator[PythonProcess]:
    """Run it in a process of its own for the length of an `async with` block; it is killed at the end."""
    async with python_process("tests.support.bulk_process", url, db, bulk_id) as process:
        yield process


async def until_sent(process: PythonProcess, number: int) -> None:
    """Wait until the process has sent so many jobs.

    Raises:
        RuntimeError: it ended first.
    """
    async for line in process.stdout:
        if int(line.split()[1]) >= number:
            return
    raise RuntimeError("the process ended first")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
