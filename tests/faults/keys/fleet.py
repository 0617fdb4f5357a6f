"""The worker and submitter processes of a keyed scenario: started, frozen, killed; the history says when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from tests.faults.harness.history import HistoryFile, What
from tests.support.python_process import ROOT, PythonProcess, python_process
from tests.support.shop_process import ShopProcess

__all__ = ["Fleet", "Ship"]


class Ship(ShopProcess):
    """One process."""

    def __init__(
        self, process: PythonProcess | asyncio.subprocess.Process, history: HistoryFile, log: Path
    ) -> None:
        super().__init__(process)
        self.log = log
        """What it wrote to stderr."""
        self._history = history

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self.process.pid

    def kill(self) -> None:
        """End it by SIGKILL now, and return at once."""
        self._history.write(What.KILLED, pid=self.pid)
        self._send(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it stand still, by SIGSTOP."""
        self._history.write(What.CUT_OFF, pid=self.pid)
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)
        self._history.write(What.BACK, pid=self.pid)

    async def ended(self) -> int:
        """Wait for its end, and return its code."""
        return await self.process.wait()

    async def end(self) -> None:
        """End it, however it is."""
        if self.process.returncode is None:
            self.kill()
        await self.process.wait()

    def _send(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(which)


class Fleet:
    """All processes of a scenario. Use it as `async with`: none outlives the block."""

    def __init__(self, history: HistoryFile, folder: Path) -> None:
        self._history = history
        self._folder = folder
        self.ships: list[Ship] = []
        """All that were started, also those that have ended, and those that do not work yet: a key waits for them too."""
        self._stack = contextlib.AsyncExitStack()

    async def launch(
        self, program: str, settings: BaseModel, environment: Mapping[str, str] | None = None
    ) -> Ship:
        """Start a module of this package, and return when it says that it works.

        Raises:
            RuntimeError: it ended before.
        """
        log = self._folder / f"{program}{len(self.ships)}.log"
        with log.open("ab") as errors:
            process = await self._start(
                f"tests.faults.keys.{program}", settings.model_dump_json(), errors.fileno(), environment
            )
        ship = Ship(process, self._history, log)
        self.ships.append(ship)
        await ship.wait_for("works")
        return ship

    async def _start(
        self, module: str, settings: str, errors: int, environment: Mapping[str, str] | None
    ) -> PythonProcess | asyncio.subprocess.Process:
        if not environment:
            return await self._stack.enter_async_context(python_process(module, settings, errors=errors))
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, settings),
            cwd=ROOT,
            env={**os.environ, **environment},  # which a loader reads: a fork comes too late for that
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )

    def logs(self) -> str:
        """Return what all of them wrote to stderr."""
        return "".join(f"--- {each.log.name}\n{each.log.read_text()}" for each in self.ships)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(ship.end() for ship in self.ships))
        await self._stack.aclose()
