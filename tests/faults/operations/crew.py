"""The instances of a scenario: started behind taps, killed, frozen, replaced; a shared file says when."""

from __future__ import annotations

import contextlib
import os
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trellis_nats.testing import NatsServer

from tests.faults.operations.instance import InstanceSettings
from tests.faults.operations.record_tap import RecordTap, Writes
from tests.support.python_process import PythonProcess, python_process

__all__ = ["Instance", "Instances", "Line"]


@dataclass(frozen=True, slots=True)
class Line:
    """What a process has done, or what was done to it."""

    pid: int
    what: str
    operation: str = "-"
    attempt: int = 0
    detail: str = "-"


class Instance:
    """One process."""

    def __init__(self, process: PythonProcess, tap: RecordTap, lines: Path) -> None:
        self.process = process
        self.tap = tap
        self._lines = lines

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self.process.pid

    def kill(self) -> None:
        """End it by SIGKILL now."""
        self._send(signal.SIGKILL, "killed")

    def freeze(self) -> None:
        """Let it stand still."""
        self._send(signal.SIGSTOP, "frozen")

    def thaw(self) -> None:
        """Let it go on."""
        self._note("thawed")
        self._send(signal.SIGCONT, "continued")

    def _send(self, which: signal.Signals, what: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(which)
        self._note(what)

    def _note(self, what: str) -> None:
        with self._lines.open("ab", buffering=0) as file:
            file.write(f"{self.pid} {what} - 0 -\n".encode())


class Instances:
    """The processes of a scenario. Use it as `async with`: none outlives the block."""

    def __init__(
        self, server: NatsServer, folder: Path, settings: InstanceSettings, writes: Writes | None = None
    ) -> None:
        self.alive: list[Instance] = []
        """Those that were not killed."""
        self._server = server
        self._folder = folder
        self._settings = settings
        self._writes = writes or Writes(None)
        self._stack = AsyncExitStack()
        self._all: list[Instance] = []
        settings.lines.touch()

    async def start(self) -> Instance:
        """Start one, and return it when it serves."""
        tap = await self._stack.enter_async_context(RecordTap(self._server.port, self._writes))
        settings = self._settings.model_copy(update={"url": tap.url})
        with (self._folder / f"instance{len(self._all)}.log").open("wb") as errors:
            process = await self._stack.enter_async_context(
                python_process(
                    "tests.faults.operations.instance", settings.model_dump_json(), errors=errors.fileno()
                )
            )
        instance = Instance(process, tap, self._settings.lines)
        self._all.append(instance)
        tap.act = lambda: self.kill(instance)
        if await process.stdout.readline() != b"serves\n":
            raise RuntimeError(f"the instance does not serve:\n{self.logs()}")
        self.alive.append(instance)
        return instance

    def kill(self, instance: Instance) -> None:
        """Kill one."""
        instance.kill()
        if instance in self.alive:
            self.alive.remove(instance)

    def find(self, pid: int) -> Instance:
        """Return the one with this number."""
        return next(each for each in self._all if each.pid == pid)

    def lines(self) -> list[Line]:
        """Return what has happened."""
        found: list[Line] = []
        for text in self._settings.lines.read_text().splitlines():
            pid, what, operation, attempt, detail = text.split(" ")
            found.append(Line(int(pid), what, operation, int(attempt), detail))
        return found

    def logs(self) -> str:
        """Return what they wrote to stderr."""
        return "".join(path.read_text() for path in sorted(self._folder.glob("instance*.log")))

    async def stop(self) -> None:
        """Stop the living ones as an operator does."""
        for instance in self.alive:
            instance.process.terminate()
        codes = [await instance.process.wait() for instance in self.alive]
        self.alive.clear()
        if any(codes):
            raise RuntimeError(f"instances ended with {codes}:\n{self.logs()}")

    def memory_mib(self) -> list[float]:
        """Return the resident memory of the living ones."""
        page = os.sysconf("SC_PAGE_SIZE")
        sizes = [
            int(Path(f"/proc/{each.pid}/statm").read_text(encoding="ascii").split()[1]) for each in self.alive
        ]
        return [size * page / 2**20 for size in sizes]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
