"""The systems of the comparison: how a worker and a producer of each are run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, TypedDict, cast

from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
PEERS_BIN: Final = ROOT / ".venv/peers/bin"
ACK_WAIT: Final = 3.0
"""Seconds, for every system."""
STARTED_WITHIN: Final = timedelta(seconds=60)


@dataclass(frozen=True)
class System:
    """A worker command as its documentation gives it, and a script that creates jobs."""

    name: str
    worker: tuple[str, ...]
    producer: tuple[str, ...]
    steadfast: bool = False
    """Whether it is set for outages, as far as its options allow."""


OURS: Final = System(
    name="trellis-nats",
    worker=(sys.executable, str(HERE / "trellis_app.py"), "worker"),
    producer=(sys.executable, str(HERE / "trellis_app.py")),
)
TASKIQ: Final = System(
    name="taskiq-nats, defaults",
    worker=(str(PEERS_BIN / "taskiq"), "worker", "taskiq_app:broker", "--workers", "1"),
    producer=(str(PEERS_BIN / "python"), str(HERE / "taskiq_app.py")),
)
TASKIQ_SET: Final = System(
    name="taskiq-nats, set for outages", worker=TASKIQ.worker, producer=TASKIQ.producer, steadfast=True
)
FASTSTREAM: Final = System(
    name="FastStream, defaults",
    worker=(str(PEERS_BIN / "faststream"), "run", "faststream_app:app"),
    producer=(str(PEERS_BIN / "python"), str(HERE / "faststream_app.py")),
)
FASTSTREAM_SET: Final = System(
    name="FastStream, set for outages",
    worker=FASTSTREAM.worker,
    producer=FASTSTREAM.producer,
    steadfast=True,
)
SYSTEMS: Final = (OURS, TASKIQ, TASKIQ_SET, FASTSTREAM, FASTSTREAM_SET)


class Told(TypedDict):
    """A line of the log that all processes of a system write."""

    event: str
    number: int
    at: float
    process: int


class Stage:
    """One system on a server of its own."""

    def __init__(self, system: System, server: NatsServer, folder: Path) -> None:
        self.server = server
        self._system = system
        self._log = folder / "told"
        self._output = folder / "output"
        self._processes: list[asyncio.subprocess.Process] = []

    @property
    def output(self) -> str:
        """What the processes have printed."""
        return self._output.read_text()

    async def worker(self) -> asyncio.subprocess.Process:
        """Start a worker."""
        return await self._run(self._system.worker)

    async def producer(self) -> asyncio.subprocess.Process:
        """Start a producer, which connects when it is first told to create a job."""
        return await self._run(self._system.producer)

    async def create(self, producer: asyncio.subprocess.Process, number: int, *, seconds: float) -> None:
        """Tell a producer to create the job of a number."""
        if producer.stdin is None:
            raise RuntimeError("the producer has no input")
        producer.stdin.write(f"{number} {seconds}\n".encode())
        await producer.stdin.drain()

    def told(self, event: str, number: int) -> list[Told]:
        """Return the lines about a job, in the order of their time."""
        if not self._log.exists():
            return []
        lines = [cast("Told", json.loads(line)) for line in self._log.read_text().splitlines()]
        return [each for each in lines if (each["event"], each["number"]) == (event, number)]

    async def first(self, event: str, number: int, *, within: timedelta) -> float | None:
        """Wait for the first line about a job; its time, or None where it does not come in time."""
        try:
            return (await eventually(lambda: self.told(event, number), within=within))[0]["at"]
        except AssertionError:
            return None

    def in_new_process(self, before: int, after: int) -> bool:
        """Whether the first run of a job was in another process than the first run of another job."""
        first, second = self.told("began", before), self.told("began", after)
        return bool(first and second) and first[0]["process"] != second[0]["process"]

    async def _run(self, command: tuple[str, ...]) -> asyncio.subprocess.Process:
        with self._output.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=HERE,
                env={
                    **os.environ,
                    "PEERS_URL": self.server.url,
                    "PEERS_LOG": str(self._log),
                    "PEERS_ACK_WAIT": str(ACK_WAIT),
                    "PEERS_STEADFAST": "1" if self._system.steadfast else "",
                },
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    async def end(self) -> None:
        """End all processes, and those that they started."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@asynccontextmanager
async def on_stage(system: System, folder: Path) -> AsyncGenerator[Stage]:
    """Have a server for a system for the length of an `async with` block."""
    place = folder / system.name.replace(", ", "-").replace(" ", "-")
    place.mkdir()
    async with NatsServer() as server:
        stage = Stage(system, server, place)
        try:
            yield stage
        finally:
            await stage.end()
