"""What happened in a scenario, as every process that took part wrote it down: one file of JSON lines.

Each line is one `write` to a file that was opened for appending, so that lines of several processes never mix and a
SIGKILL loses no line that was begun. The clock is CLOCK_MONOTONIC, which all processes of one machine share.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import cast

from pydantic import JsonValue

__all__ = ["Entry", "HistoryFile", "What", "read_history"]


class What(StrEnum):
    """What an entry says."""

    SUBMIT = "submit"
    """A job is about to be created. Facts: `ends`, the ends it may have, where not every one is right."""
    ACCEPTED = "accepted"
    """`create` returned."""
    REFUSED = "refused"
    """`create` raised an error that says that nothing was stored."""
    UNKNOWN = "unknown"
    """`create` raised an error after which the job may exist."""
    WORKS = "works"
    """A worker process works. Facts: `concurrency`, the handlers at a time in each of its queues."""
    ENTER = "enter"
    """A handler begins. Facts: `tries`, `queue`."""
    EXIT = "exit"
    """A handler ends. Facts: `tries`, `how`: returned, raised or interrupted."""
    CANCEL = "cancel"
    """A cancellation is about to be asked for."""
    CANCELLED = "cancelled"
    """The cancellation was the end of the job."""
    NOT_CANCELLED = "not cancelled"
    """The job had ended before."""
    KILLED = "killed"
    """A process is about to be killed."""
    CUT_OFF = "cut off"
    """A process stands still or reaches no server, from now on."""
    BACK = "back"
    """It goes on, or reaches a server again."""
    NEMESIS = "nemesis"
    """Some other fault. Facts: `fault`; `seen`, names of log events, of which one must be logged `within` so many
    seconds."""
    LOGGED = "logged"
    """The runtime logged a record. Facts: `logger`, `level`, `event_name`, `text`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    at: int
    """Nanoseconds of CLOCK_MONOTONIC."""
    pid: int
    """The process that it is about."""
    what: What
    job: str = ""
    facts: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])

    @property
    def tries(self) -> int:
        """The number of the try; 0 where it says none."""
        found = self.facts.get("tries")
        return found if isinstance(found, int) else 0

    def text(self, name: str) -> str:
        """Return a fact that is a text; empty where there is none."""
        found = self.facts.get(name)
        return found if isinstance(found, str) else ""


class HistoryFile:
    """The file, as one process writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, what: What, job: str = "", *, pid: int | None = None, **facts: JsonValue) -> None:
        """Write one line. `pid`: whom it is about; this process where it is not given."""
        line = {"at": time.monotonic_ns(), "pid": pid or os.getpid(), "what": what, "job": job, **facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Write no more."""
        os.close(self._file)


def read_history(path: Path) -> list[Entry]:
    """Read every line, in the order of the clock."""
    return sorted((_entry(line) for line in path.read_bytes().splitlines()), key=lambda entry: entry.at)


def _entry(line: bytes) -> Entry:
    content = cast("dict[str, JsonValue]", json.loads(line))
    match content:
        case {"at": int(at), "pid": int(pid), "what": str(what), "job": str(job), **facts}:
            return Entry(at, pid, What(what), job, facts)
        case _:
            raise ValueError(f"no line of a history: {line!r}")
