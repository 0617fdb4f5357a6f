"""Whether every fault left a sign where an operator looks: a line in the log of a worker. Pure, but for `Trail`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from tests.faults.harness.history import Entry, HistoryFile, What

__all__ = [
    "CAME_AGAIN",
    "CANCELLED",
    "CLOCK_JUMPED",
    "CLOCK_WRONG",
    "CONNECTION_LOST",
    "ENQUEUED",
    "HELD",
    "PUT_BACK",
    "RELEASED",
    "SUPERSEDED",
    "TAKEN_OVER",
    "UNCONFIRMED",
    "UNHEARD",
    "UNSERVED",
    "WRITTEN_AGAIN",
    "Sign",
    "Trail",
    "silent",
]

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sign:
    """What a line of a log is known by."""

    logger: str
    pattern: str
    """A regular expression that is found in its text."""

    def is_in(self, line: Entry) -> bool:
        """Say whether a line that was logged is this one."""
        return line.text("logger") == self.logger and re.search(self.pattern, line.text("text")) is not None


CAME_AGAIN: Final = Sign("trellis_nats.jobs.work.executor", " came again, and (its worker lives|runs here)$")
CANCELLED: Final = Sign("trellis_nats.jobs.work.finish", " was cancelled while it ran$")
CLOCK_JUMPED: Final = Sign("trellis_nats.jobs.work.clock_skew", "^the clock of this machine jumped by ")
CLOCK_WRONG: Final = Sign(
    "trellis_nats.jobs.work.clock_skew", "^the clock of this machine is .* the server's: "
)
CONNECTION_LOST: Final = Sign("trellis_nats._nats.supervisor", "^connection lost: ")
ENQUEUED: Final = Sign("trellis_nats.jobs.maintenance.job_rescuer", " was lost and is enqueued again$")
HELD: Final = Sign("trellis_nats.jobs.work.finish", "^job .* is not stored yet: ")
PUT_BACK: Final = Sign("trellis_nats.jobs.work.worker", ": a job is put back: ")
RELEASED: Final = Sign("trellis_nats.jobs.work.finish", " is released: this worker stops$")
SUPERSEDED: Final = Sign("trellis_nats.jobs.work.finish", ": another worker has it now$")
TAKEN_OVER: Final = Sign("trellis_nats.jobs.work.executor", " came again, and its worker has it no more$")
UNCONFIRMED: Final = Sign(
    "trellis_nats._nats.jetstream.delivery", "^an acknowledgement is not confirmed yet: "
)
UNHEARD: Final = Sign("trellis_nats._nats.jetstream.pull", ": the server has not been heard from$")
UNSERVED: Final = Sign("trellis_nats._nats.jetstream.pull", ": nobody answers for consumer | was deleted$")
WRITTEN_AGAIN: Final = Sign("trellis_nats.jobs.store.event_log", " is written again: ")


class Trail(logging.Handler):
    """Writes every line of the runtime's log into the history, from INFO on."""

    def __init__(self, history: HistoryFile) -> None:
        super().__init__(logging.INFO)
        self._history = history

    def follow(self) -> None:
        """Begin."""
        runtime = logging.getLogger("trellis_nats")
        runtime.setLevel(logging.INFO)
        runtime.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, without its traceback."""
        said = record.getMessage()
        self._history.write(What.LOGGED, logger=record.name, level=record.levelname, text=said)


def silent(history: Sequence[Entry]) -> list[str]:
    """Name each fault that should be seen, and after which no worker logged in time what it is seen by."""
    lines = [entry for entry in history if entry.what is What.LOGGED]
    return [
        f"{fault.text('fault')} at {fault.at}"
        for fault in history
        if fault.what is What.NEMESIS and (signs := _signs(fault.facts.get("seen")))
        if not _is_seen(fault, signs, lines)
    ]


def _is_seen(fault: Entry, signs: Sequence[Sign], lines: Iterable[Entry]) -> bool:
    within = fault.facts.get("within")
    until = fault.at + (within if isinstance(within, int) else 0) * _SECOND
    return any(fault.at <= line.at <= until and any(sign.is_in(line) for sign in signs) for line in lines)


def _signs(told: JsonValue) -> list[Sign]:
    """Read the signs of a fault as the history has them."""
    pairs = told if isinstance(told, list) else []
    return [Sign(str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list)]
