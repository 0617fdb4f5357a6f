"""An instance that works an event group in a process of its own, to be killed.

It appends the number of each event that it has handled to a file, as one line, so that the lines of several processes
stand in the order in which the events were handled.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from trellis_nats import DeliveredEvent

from tests.support.audit import AuditService
from tests.support.orders import Moved, Shipped

ROOT: Final = Path(__file__).parents[2]

__all__ = ["start_instance"]


async def main(url: str, path: str) -> None:
    """Work until SIGTERM."""
    lines = os.open(path, os.O_WRONLY | os.O_APPEND)
    async with AuditService.connect(url) as service:

        @service.audit.shipped.handle
        async def shipped(event: DeliveredEvent[Shipped]) -> None:
            os.write(lines, f"{event.event.order_id}\n".encode())

        @service.audit.moved.handle
        async def moved(event: DeliveredEvent[Moved]) -> None:
            raise AssertionError("no event has moved")

        await service.run()


async def start_instance(url: str, path: Path) -> asyncio.subprocess.Process:
    """Start an instance."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.audit_process", url, str(path)), cwd=ROOT
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
