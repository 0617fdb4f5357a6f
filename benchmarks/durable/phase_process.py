"""Starts `phase.py` for one phase of one column, with a process and a server of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, cast

from trellis_nats.testing import NatsServer

from .meter import Measured

__all__ = ["measure_phase"]

PHASE: Final = Path(__file__).with_name("phase.py")


def measure_phase(
    column: str, phase: str, jobs: int, concurrency: int, *, runtime: Path, loop: str = "asyncio"
) -> Measured:
    """Run one phase; every column but "by hand" runs on the runtime in the folder `runtime`."""
    name = "by hand" if column == "by hand" else "ours"
    with NatsServer() as server:
        arguments = (name, phase, server.url, server.pid, jobs, concurrency, loop)
        done = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, PHASE, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(runtime)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return cast("Measured", json.loads(done.stdout))
