"""One of the processes of a group: started, listened to, and started again."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from trellis_nats._support.log_events import LogEvent, log_fields

__all__ = ["LINK", "ProcessSlot"]

_log = logging.getLogger(__name__)

LINK: Final = "_TRELLIS_GROUP"
"""The environment variable with the descriptor of the link between a process and its group."""
_NUMBER: Final = "TRELLIS_PROCESS"
_SETTLED: Final = 30.0
"""Seconds after which a process counts as one that runs: it is started again at once, and its failures are forgotten."""
_LAST_WORDS: Final = 1.0
"""Seconds to read what a process told before it ended."""
_WAIT_MAX: Final = 30.0
"""The longest wait in seconds before a process that fails again and again is started again."""
_RETURNED: Final = (
    ". service.run() had got no signal: the function must run until SIGTERM, as `await service.run()` does"
)
"""What a process is warned of that ended with code 0 and was not stopped."""


class ProcessSlot:
    """A place for one process at a time, with a number."""

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        *,
        stopping: asyncio.Event,
        on_told: Callable[[ProcessSlot, Sequence[str | None]], Awaitable[None]],
        on_ended: Callable[[ProcessSlot], None],
    ) -> None:
        """Prepare.

        Args:
            number: of the process, from 1.
            command: what starts it.
            stopping: set when the group stops. Then no process is started.
            on_told: called with what the process tells.
            on_ended: called when a process has ended.
        """
        self.number: Final = number
        self.exit_code: int | None = None
        """Of the last process that ended; the negative number of a signal where that ended it. None: it did not even start."""
        self.health: dict[str, str] = {}
        """Where this process answers probes, by the address at which its group does."""
        self.is_stopping = False
        """Whether the process that runs, or ran last, got a signal to stop."""
        self.problem = "not started yet"
        """Why no process runs, where none does."""
        self._command = command
        self._stopping = stopping
        self._on_told = on_told
        self._on_ended = on_ended
        self._process: asyncio.subprocess.Process | None = None
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """The process id; None while none runs."""
        return None if self._process is None else self._process.pid

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to the process, if one runs."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(which)

    async def keep(self) -> None:
        """Start a process, and again whenever it ends, until the group stops."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            await self._run()
            self._on_ended(self)
            if self._stopping.is_set():
                return
            self._failures = 0 if loop.time() - began >= _SETTLED else self._failures + 1
            wait = min(2.0 ** (self._failures - 1), _WAIT_MAX) if self._failures else 0.0
            has_returned = self.exit_code == 0 and not self.is_stopping
            _log.log(
                logging.INFO if self.exit_code == 0 and self.is_stopping else logging.WARNING,
                "process %d %s; it starts again %s%s",
                self.number,
                self.problem,
                f"in {wait:g} s" if wait else "now",
                _RETURNED if has_returned else "",
                extra=log_fields(LogEvent.PROCESS_ENDED),
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)

    async def _run(self) -> None:
        """Run a process to its end."""
        ours: socket.socket | None = None
        try:
            ours, its = socket.socketpair()
            with its:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env={**os.environ, LINK: str(its.fileno()), _NUMBER: str(self.number)},
                    pass_fds=(its.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    # Ctrl-C in a terminal goes to its whole process group. Here, the group passes it on.
                    process_group=0,
                )
        except OSError as error:
            if ours is not None:
                ours.close()
            self.exit_code, self.problem = None, f"could not be started: {error}"
            return
        self._process = process
        self.is_stopping = False
        if self._stopping.is_set():  # the signal came before there was a process
            self.signal(signal.SIGTERM)
        fields = log_fields(LogEvent.PROCESS_STARTED)
        _log.info("process %d started, pid %d", self.number, process.pid, extra=fields)
        reader, writer = await asyncio.open_connection(sock=ours)
        listening = asyncio.create_task(self._listen(reader))
        self.exit_code = await process.wait()
        self.problem = f"(pid {process.pid}) {_describe_end(self.exit_code)}"
        self._process = None
        self.health.clear()
        # What it told last may not be read yet. The link does not end as long as a child that it forked holds it.
        await asyncio.wait((listening,), timeout=_LAST_WORDS)
        listening.cancel()
        self.health.clear()
        writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            async for line in reader:
                await self._on_told(self, json.loads(line))


def _describe_end(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with code {exit_code}"
