"""Remembers the requests of the last minute, so that each is served once."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from typing import Final

__all__ = ["REPLAYS", "ReplayCache"]

_SIZE_MAX: Final = 200_000
"""How many requests are remembered, in up to 80 MB: a single caller may make about 3,000 a second."""


class ReplayCache:
    """The requests that were served, as long as their proofs are valid. Its size is bounded. Thread-safe.

    A session key may take half of the space that the others leave. So one caller cannot fill it: a second one still finds
    a third of the whole, and a further one a quarter.
    """

    def __init__(self, size_max: int = _SIZE_MAX) -> None:
        self._size_max = size_max
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._counts: Counter[str] = Counter()
        """Requests of each session key."""
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def is_new(self, session_key: str, request_id: str, *, at: float, until: float) -> bool:
        """Return whether a request was not seen before, and remember it until an instant, in seconds of any one clock.

        When its session key has no space left, a new request is refused: it could be a replay of one that was forgotten.
        """
        request = (session_key, request_id)
        with self._changing:
            self._forget(at)
            is_full = self._counts[session_key] >= self._size_max - len(self._until)
            if request in self._until or is_full:
                return False
            self._until[request] = until
            self._counts[session_key] += 1
        return True

    def is_known(self, session_key: str, request_id: str) -> bool:
        """Return whether a request is remembered: `is_new` would refuse it."""
        return (session_key, request_id) in self._until

    def _forget(self, at: float) -> None:
        while self._until:
            first = next(iter(self._until))
            if self._until[first] > at:
                return
            del self._until[first]
            session_key, _ = first
            self._counts[session_key] -= 1
            if not self._counts[session_key]:
                del self._counts[session_key]


REPLAYS: Final = ReplayCache()
"""Of all services of this process: two of them must not serve the same request either."""
