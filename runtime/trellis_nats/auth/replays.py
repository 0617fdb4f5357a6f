"""Remembers the requests of the last seconds, so that each is served once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["REPLAYS", "ReplayCache"]

_SIZE_MAX: Final = 200_000
"""How many requests are remembered: about 3,000 a second for the time in which a proof is valid."""


class ReplayCache:
    """The requests that were served, as long as their proofs are valid. Its size is bounded."""

    def __init__(self, size_max: int = _SIZE_MAX) -> None:
        self._size_max = size_max
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def is_new(self, session_key: str, request_id: str, *, at: float, until: float) -> bool:
        """Return whether a request was not seen before, and remember it until an instant, in seconds.

        When it is full of requests whose proofs are still valid, a new request is refused: it could be a replay of one
        that was forgotten.
        """
        self._forget(at)
        key = (session_key, request_id)
        if key in self._until or len(self._until) >= self._size_max:
            return False
        self._until[key] = until
        return True

    def _forget(self, at: float) -> None:
        while self._until:
            first = next(iter(self._until))
            if self._until[first] > at:
                return
            del self._until[first]


REPLAYS: Final = ReplayCache()
"""Of all services of this process: two of them must not serve the same request either."""
