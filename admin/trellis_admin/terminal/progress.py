"""One line on stderr that says how far something is, if that is a terminal and it takes more than a second."""

from __future__ import annotations

import sys
import time
from typing import Final, Self

__all__ = ["ProgressLine"]

_AFTER: Final = 1.0
_EVERY: Final = 0.2


class ProgressLine:
    """Use it with `with`: the line is removed at the end."""

    def __init__(self, what: str) -> None:
        """Prepare; `what` stands before the numbers."""
        self._what = what
        self._is_shown = sys.stderr.isatty()
        self._next = time.monotonic() + _AFTER
        self._has_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the line."""
        if self._has_shown:
            sys.stderr.write("\r\x1b[K")

    def show(self, done: int, total: int) -> None:
        """Show how far it is."""
        self.say(f"{self._what}: {done:,} of {total:,}")

    def say(self, text: str) -> None:
        """Show a text."""
        if self._is_shown and (now := time.monotonic()) >= self._next:
            self._next = now + _EVERY
            self._has_shown = True
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
