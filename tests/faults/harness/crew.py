"""Worker processes, as a scenario sees them: started, stopped, frozen and killed; the history says when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Self

from tests.faults.harness.history import HistoryFile, What
from tests.faults.harness.worker import Settings
from tests.support.python_process import ROOT, PythonProcess, python_process

__all__ = ["Crew", "WorkerProcess"]


class WorkerProcess:
    """One worker process."""

    def __init__(self, settings: Settings, history: HistoryFile, log: Path) -> None:
        self.settings = settings
        self.log = log
        """What it wrote to stderr."""
        self._history = history
        self._process: PythonProcess | asyncio.subprocess.Process | None = None
        self._stack = contextlib.AsyncExitStack()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._running().pid

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._running().returncode

    async def start(self) -> Self:
        """Start the process, and return at once."""
        module, settings = "tests.faults.harness.worker", self.settings.model_dump_json()
        with self.log.open("ab") as errors:
            if "LD_PRELOAD" in os.environ:  # a loader reads it: a fork comes too late for that
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", module, settings),
                    cwd=ROOT,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors.fileno(),
                )
            else:
                forked = python_process(module, settings, errors=errors.fileno())
                self._process = await self._stack.enter_async_context(forked)
        return self

    async def works(self) -> Self:
        """Wait until it pulls.

        Raises:
            RuntimeError: it ended before.
        """
        output = self._running().stdout
        if output is None or await output.readline() != b"works\n":
            raise RuntimeError(f"the worker does not work: {self.log.read_text()}")
        return self

    def kill(self) -> None:
        """End it by SIGKILL now, and return at once."""
        self._history.write(What.KILLED, pid=self.pid)
        self._send(signal.SIGKILL)

    def terminate(self, which: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop."""
        self._history.write(What.NEMESIS, pid=self.pid, fault=which.name)
        self._send(which)

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
        return await self._running().wait()

    async def end(self) -> None:
        """End it, however it is."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self.kill()
        await self._process.wait()
        await self._stack.aclose()

    def _send(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._running().send_signal(which)

    def _running(self) -> PythonProcess | asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the worker has not been started")
        return self._process


class Crew:
    """The worker processes of a scenario. Use it as `async with`: none outlives the block."""

    def __init__(self, settings: Settings, history: HistoryFile, folder: Path) -> None:
        self.settings = settings
        """Of every worker, where it is not given others."""
        self.workers: list[WorkerProcess] = []
        """Those that were hired and not dismissed, killed ones too."""
        self._all: list[WorkerProcess] = []
        self._history = history
        self._folder = folder

    async def hire(self, count: int = 1, **changes: object) -> list[WorkerProcess]:
        """Start `count` workers, with some settings changed, and return when all of them pull."""
        settings = self.settings.model_copy(update=changes)
        hired = [self._new(settings) for _ in range(count)]
        await asyncio.gather(*(worker.start() for worker in hired))
        await asyncio.gather(*(worker.works() for worker in hired))
        self.workers += hired
        return hired

    async def replace(self, victim: WorkerProcess) -> WorkerProcess:
        """Kill a worker, and start another one in its place."""
        victim.kill()
        await victim.ended()
        self.workers.remove(victim)
        (successor,) = await self.hire(url=victim.settings.url)
        return successor

    async def dismiss(self, worker: WorkerProcess) -> int:
        """Stop a worker by SIGTERM, and return its code."""
        worker.terminate()
        self.workers.remove(worker)
        return await worker.ended()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(worker.end() for worker in self._all))

    def logs(self) -> str:
        """Return what all of them wrote to stderr."""
        return "".join(f"--- {each.log.name}\n{each.log.read_text()}" for each in self._all)

    def _new(self, settings: Settings) -> WorkerProcess:
        worker = WorkerProcess(settings, self._history, self._folder / f"worker{len(self._all)}.log")
        self._all.append(worker)
        return worker
