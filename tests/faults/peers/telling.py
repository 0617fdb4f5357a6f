"""How workers and producers of any system talk to the test; only the standard library, for every environment.

Workers append a line of JSON to a file for each handler that begins, so that a worker that its supervisor starts again
still tells. Producers do the same for each job that was accepted, and take orders from their standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

URL: Final = os.environ["PEERS_URL"]
LOG: Final = Path(os.environ["PEERS_LOG"])
STEADFAST: Final = os.environ.get("PEERS_STEADFAST") == "1"
"""Whether the system is set for outages, as far as its options allow."""
ACK_WAIT: Final = float(os.environ["PEERS_ACK_WAIT"])
"""Seconds."""
_AGAIN_SECONDS: Final = 0.5

Create = Callable[[int, float], Awaitable[object]]
"""Creates the job of a number, whose handler takes the given seconds."""


def tell(event: str, number: int) -> None:
    """Append what happened, with the time on the machine's monotonic clock, which all processes share."""
    line = json.dumps({"event": event, "number": number, "at": time.monotonic(), "process": os.getpid()})
    with LOG.open("a", encoding="ascii") as file:
        file.write(line + "\n")


async def handle(number: int, seconds: float) -> None:
    """Do what each handler does."""
    tell("began", number)
    await asyncio.sleep(seconds)
    tell("ended", number)


async def produce(connect: Callable[[], Awaitable[Create]]) -> None:
    """Create a job for each line `<number> <seconds>`, on one connection that is made at the first line.

    A creation that fails is tried again, as its user would, until the process is ended.
    """
    create: Create | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        number, seconds = line.split()
        create = create or await connect()
        accepted = False
        while not accepted:
            with contextlib.suppress(Exception):
                await create(int(number), float(seconds))
                accepted = True
            await asyncio.sleep(0 if accepted else _AGAIN_SECONDS)
        tell("accepted", int(number))
