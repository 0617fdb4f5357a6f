"""Bounds what the server may have under way to this client as answers to reads.

A server keeps what it cannot send yet, and ends the connection of a client that has too much of it (64 MiB by default) or
does not take it for 10 s: 200 results of a mebibyte, asked for at once, cut every reader of the process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from typing import Final

__all__ = ["AnswerSize", "ReadBudget"]

_BUDGET_BYTES: Final = 4 * 1024 * 1024
"""How much may be expected at a time, for each size of answers: a line of 10 Mbit/s takes four seconds for it, less than a request waits."""
_SMALL_BYTES: Final = 32 * 1024
"""What is reserved for an answer without a payload or a result: its largest parts are an error text and a stack of 8 KiB each."""
_LARGE_SHARE: Final = 8
"""At least the eighth part of the largest message is reserved for an answer that may be large. So when answers suddenly
get large, the excess stays below 32 MiB."""
_FORGET: Final = 7 / 8
"""How fast the estimate for large answers follows smaller ones."""


class AnswerSize(Enum):
    """How large the answer to a read may be."""

    SMALL = auto()
    """It has no payload or result. It does not wait behind large ones."""
    LARGE = auto()
    """As large as a message may be."""
    PAGE = auto()
    """Messages that follow each other, of about a mebibyte together."""


class ReadBudget:
    """Gives the reads of one size their turns, in order. Not thread-safe."""

    def __init__(self, size: AnswerSize) -> None:
        self._size = size
        self.reserved_bytes = 0
        """What the reads that have their turn may bring."""
        self._expected: float | None = None
        """How large a large answer probably is; None before the first one: as large as a message may be."""
        self._waiting: deque[tuple[int, asyncio.Future[int]]] = deque()

    async def acquire(self, max_payload: int) -> int:
        """Wait for the turn of a read. Return what is reserved for it, for `release`."""
        reserved = self._reservation(max_payload)
        if not self._waiting and self._fits(reserved):
            self.reserved_bytes += reserved
            return reserved
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((max_payload, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(turn.result())  # the turn came in the same moment
            raise

    def release(self, reserved: int) -> None:
        """End the turn of a read."""
        self.reserved_bytes -= reserved
        while self._waiting:
            max_payload, turn = self._waiting[0]
            wanted = self._reservation(max_payload)
            if not turn.done() and not self._fits(wanted):
                return
            self._waiting.popleft()
            if not turn.done():
                self.reserved_bytes += wanted
                turn.set_result(wanted)

    def note(self, size_bytes: int) -> None:
        """Note the size of an answer."""
        self._expected = max(float(size_bytes), (self._expected or 0.0) * _FORGET)

    def _reservation(self, max_payload: int) -> int:
        if self._size is AnswerSize.SMALL:
            return _SMALL_BYTES
        if self._expected is None:
            return max_payload
        return int(max(self._expected, max_payload / _LARGE_SHARE))

    def _fits(self, reserved: int) -> bool:
        return self.reserved_bytes == 0 or self.reserved_bytes + reserved <= _BUDGET_BYTES
