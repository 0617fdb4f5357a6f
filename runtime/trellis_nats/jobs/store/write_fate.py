"""How the last write to a stream of jobs ended."""

from __future__ import annotations

import math
from time import monotonic
from typing import Final

from trellis_nats.errors import ApiError, NotConnected, PayloadTooLarge, TransportError, WrongLastSequence

__all__ = ["WriteFate"]

_MESSAGE_TOO_LARGE: Final = 10054


class WriteFate:
    """The fate of the last write of one writer. Times are those of the monotonic clock, in seconds."""

    __slots__ = ("failed_at", "failure", "succeeded_at")

    def __init__(self) -> None:
        self.succeeded_at = -math.inf
        self.failed_at = -math.inf
        self.failure = ""
        """Why the last write failed; empty when it was stored."""

    def succeed(self) -> None:
        """Record that a write was stored."""
        self.succeeded_at, self.failure = monotonic(), ""

    def fail(self, error: TransportError) -> None:
        """Record why a write failed, unless the reason is the message or another writer, or that there is no connection."""
        is_of_stream = not isinstance(error, WrongLastSequence | PayloadTooLarge | NotConnected)
        if is_of_stream and not (isinstance(error, ApiError) and error.err_code == _MESSAGE_TOO_LARGE):
            self.failed_at, self.failure = monotonic(), str(error)
