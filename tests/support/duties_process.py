"""A replica with the duties of a fleet in a process of its own, to be killed. It prints `leading` once it is elected."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta

from trellis_admin.audit_log.resources import open_admin_bucket
from trellis_admin.duties import DutyOptions, FleetDuties, JobPlace
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings

from tests.support.eventually import eventually
from tests.support.python_process import PythonProcess, python_process

__all__ = ["duties_process"]


async def find_nothing(before: datetime, limit: int) -> Sequence[JobPlace]:
    """Find no overdue job."""
    return []


async def main(url: str, lease: timedelta) -> None:
    """Run the duties until the process is killed."""
    connection = await Connection.open(url, settings=ConnectionSettings())
    bucket = await open_admin_bucket(connection)
    options = DutyOptions(every=timedelta(milliseconds=50), lease=lease)
    async with FleetDuties(connection, bucket, find_nothing, options=options) as duties:
        await eventually(lambda: duties.is_leader, within=timedelta(minutes=1))
        sys.stdout.write("leading\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def duties_process(url: str, lease: timedelta) -> AsyncGenerator[PythonProcess, None]:
    """Run a replica that is elected, for the length of an `async with` block."""
    async with python_process("tests.support.duties_process", url, lease.total_seconds()) as process:
        if await process.stdout.readline() != b"leading\n":
            raise RuntimeError("the replica was not elected")
        yield process


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], timedelta(seconds=float(sys.argv[2]))))
