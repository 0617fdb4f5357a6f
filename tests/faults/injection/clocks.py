"""A wall clock that a test turns, for one worker process. The server's and the test's own stay right.

libfaketime is loaded before the process's own C library. CLOCK_MONOTONIC is left alone, as it is where an operator or
a time daemon sets the clock of a machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Self

__all__ = ["TurnedClock"]


class TurnedClock:
    """The clock of the processes that are started with its `environment`."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self._library = library
        self.turn(timedelta(0))

    @classmethod
    def at(cls, file: Path) -> Self | None:
        """Prepare a clock that reads its time from a file; None where libfaketime is not installed."""
        found = importlib.util.find_spec(
            "libfaketime"
        )  # not imported: it wants packages that nothing else needs
        if found is None or found.origin is None:
            return None
        library = Path(found.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
        return cls(file, library) if library.exists() else None

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs in its environment."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",  # else it looks at the file every ten seconds
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def turn(self, away: timedelta) -> None:
        """Set how far the clock is ahead of the right time; negative: behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{away.total_seconds():+.3f}\n", encoding="ascii")
        new.replace(self._file)  # a reader finds the old time or the new one, never half a line
