"""A group of processes that run one program: started, stopped and probed as one."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import ConfigurationError
from trellis_nats.health.listener import serve_probes
from trellis_nats.run import one_process
from trellis_nats.run.group_health import ProbedGroup
from trellis_nats.run.process_slot import ProcessSlot

__all__ = ["ProcessGroup"]

_log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_LOAD_LONG: Final = 10.0
"""Seconds after which an import is likely to be one that does not end."""
_EFFECTS: Final = ("stop", "end their grace periods", "are killed")
"""What processes do at the first, the second and the third signal."""
_ENDED_WELL: Final = (0, -signal.SIGTERM)
"""Exit codes after a stop request. The signal itself ends a process that has not come to its `run()`."""


class ProcessGroup:
    """The processes. One that ends is started again; a stop request goes to all of them.

    The first one starts alone. If it does not find the function of the program, or its import fails, no other process is
    started, and the group ends: waiting would not help.
    """

    def __init__(self, command: Sequence[str], count: int, *, kill_after: float | None) -> None:
        """Prepare.

        Args:
            command: starts one process.
            count: how many of them.
            kill_after: how many seconds after the first signal processes that still run are killed; None: never.
        """
        self._kill_after = kill_after
        self._stopping = asyncio.Event()
        self._has_loaded = False
        self._received = 0
        self._exit_code = 0
        self._probed: set[str] = set()
        self._listeners: Final = AsyncExitStack()
        self._tasks: Final = asyncio.TaskGroup()
        self.slots: Final = [
            ProcessSlot(
                number, command, stopping=self._stopping, on_told=self._on_told, on_ended=self._on_ended
            )
            for number in range(1, count + 1)
        ]
        """The places of the processes, by number."""

    async def run(self) -> int:
        """Run until a signal, and return the exit code."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        loop.call_later(_LOAD_LONG, self._warn_of_long_load)
        async with self._listeners, self._tasks:
            self._tasks.create_task(self.slots[0].keep())
        return self._exit_code

    async def _on_told(self, slot: ProcessSlot, words: Sequence[str | None]) -> None:
        match words:
            case [one_process.LOADED] if not self._has_loaded:
                self._has_loaded = True
                for other in self.slots[1:]:
                    self._tasks.create_task(other.keep())
            case ["stopping"]:
                slot.is_stopping = True
            case ["health", str(address), None]:
                slot.health.pop(address, None)
            case ["health", str(address), str(own)]:
                slot.health[address] = own
                await self._answer_probes(address)
            case _:
                pass

    async def _answer_probes(self, address: str) -> None:
        """Answer probes for the whole group, from when the first process would until all have ended."""
        if address in self._probed:
            return
        self._probed.add(address)
        try:
            bound = await self._listeners.enter_async_context(
                serve_probes(ProbedGroup(self.slots, address), address)
            )
        except ConfigurationError as error:
            _log.error("%s", error, extra=log_fields(LogEvent.GROUP_FAILED))
            self._fail(1)
        else:
            fields = log_fields(LogEvent.GROUP_PROBED)
            _log.info("probes of all processes are answered on %s", bound, extra=fields)

    def _on_ended(self, slot: ProcessSlot) -> None:
        if self._stopping.is_set():
            if slot.exit_code not in _ENDED_WELL:
                fields = log_fields(LogEvent.PROCESS_ENDED)
                _log.warning("process %d %s", slot.number, slot.problem, extra=fields)
                self._exit_code = self._exit_code or 1
        elif not self._has_loaded:
            text = "the first process %s before the program was loaded: no other one is started"
            _log.error(text, slot.problem, extra=log_fields(LogEvent.GROUP_FAILED))
            self._fail(slot.exit_code if slot.exit_code == one_process.NOT_FOUND else 1)

    def _warn_of_long_load(self) -> None:
        if not self._has_loaded and not self._stopping.is_set():
            _log.warning(
                "the program is not imported after %g s, and no other process starts before. If it runs as it is "
                'imported, put its last lines under `if __name__ == "__main__":`',
                _LOAD_LONG,
                extra=log_fields(LogEvent.PROGRAM_NOT_LOADED),
            )

    def _on_signal(self, number: signal.Signals) -> None:
        self._received += 1
        effect = _EFFECTS[min(self._received, len(_EFFECTS)) - 1]
        running = sum(slot.pid is not None for slot in self.slots)
        fields = log_fields(LogEvent.GROUP_STOPS)
        _log.info("%s: running processes (%d) %s", number.name, running, effect, extra=fields)
        if self._received < len(_EFFECTS):
            self._stop()
        else:
            self._signal_all(signal.SIGKILL)

    def _fail(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._stop()

    def _stop(self) -> None:
        if not self._stopping.is_set() and self._kill_after is not None:
            asyncio.get_running_loop().call_later(self._kill_after, self._signal_all, signal.SIGKILL)
        self._stopping.set()
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, which: signal.Signals) -> None:
        for slot in self.slots:
            slot.signal(which)
