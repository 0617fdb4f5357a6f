"""Sends large bad messages to a target, in a process of its own, and measures by how many bytes the process grows."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice

from trellis_nats.testing import NatsServer

from tests.support.bad_input import Bad, large_messages
from tests.support.bad_targets import TARGETS, Target
from tests.support.bombard import bombard


def peak_bytes() -> int:
    """Return the largest size that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def some(count: int, target: Target) -> Iterator[Bad]:
    """Return fewer messages where each takes longer, and at least one of each kind."""
    return islice(large_messages(target.body), max(5, count // target.effort))


async def main(name: str, number: int) -> None:
    """Send a few messages, then many: only what grows with their number is a leak, or lacks a limit."""
    # On a busy machine, the service reads a batch of large messages in more than the 10 s that the server allows.
    with NatsServer(config="write_deadline: 5m") as server:
        for count in (5, number):
            await bombard(server, TARGETS[name], partial(some, count))
            print(peak_bytes(), flush=True)  # noqa: T201 - how the test learns it


async def measure_growth(name: str, number: int) -> int:
    """Return by how many bytes a process grows that gets a number of large bad messages after a few."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, name, str(number), stdout=asyncio.subprocess.PIPE
    )
    written, _ = await process.communicate()
    assert process.returncode == 0
    few, many = (int(line) for line in written.split())
    return many - few


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
