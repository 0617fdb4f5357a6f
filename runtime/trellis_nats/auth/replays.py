"""Remembers the requests of the last minute, so that each is served once."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

__all__ = ["REPLAYS", "ReplayCache"]

_SIZE_MAX: Final = 600_000
"""How many requests are remembered, in up to 60 MB (95 bytes each): a single caller may make 9,000 a second, more than a process can check."""
_DIGEST_BYTES: Final = 15
"""Of a remembered request: 120 bits, in a Python object of 48 bytes. One more would take 64."""


@dataclass(slots=True)
class _Key:
    """A session key, and how many of its requests are remembered."""

    text: str
    count: int = 0


@dataclass(slots=True)
class _Second:
    """The requests that are forgotten at the same second, and the key of each: lists of the same length."""

    digests: list[bytes] = field(default_factory=list[bytes])
    keys: list[_Key] = field(default_factory=list[_Key])


class ReplayCache:
    """The requests that were served, as long as their proofs are valid. Its size is bounded. Thread-safe.

    A session key may take half of the space that the others leave. So one caller cannot fill it: a second one still finds
    a quarter of the whole, and a further one an eighth.
    """

    def __init__(self, size_max: int = _SIZE_MAX) -> None:
        self._size_max = size_max
        self._digests: set[bytes] = set()
        self._seconds: dict[int, _Second] = {}
        """By when their requests are forgotten; the proofs of a minute make at most about sixty."""
        self._forget_at: float = math.inf
        """The first of these."""
        self._keys: dict[str, _Key] = {}
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._digests)

    def is_new(self, session_key: str, request_id: str, *, at: float, until: float) -> bool:
        """Return whether a request was not seen before, and remember it until an instant, in seconds of any one clock.

        When its session key has no space left, a new request is refused: it could be a replay of one that was forgotten.
        """
        digest = _digest(session_key, request_id)
        with self._changing:
            if at >= self._forget_at:
                self._forget(at)
            key = self._keys.get(session_key) or _Key(session_key)
            is_full = key.count >= self._size_max - len(self._digests)
            if digest in self._digests or is_full:
                return False
            forget_at = math.ceil(until)
            second = self._seconds.setdefault(forget_at, _Second())
            self._digests.add(digest)
            second.digests.append(digest)
            second.keys.append(key)
            key.count += 1
            self._keys[session_key] = key
            self._forget_at = min(self._forget_at, forget_at)
        return True

    def is_known(self, session_key: str, request_id: str) -> bool:
        """Return whether a request is remembered: `is_new` would refuse it."""
        return _digest(session_key, request_id) in self._digests

    def _forget(self, at: float) -> None:
        for forget_at in [forget_at for forget_at in self._seconds if forget_at <= at]:
            second = self._seconds.pop(forget_at)
            self._digests.difference_update(second.digests)
            for key in second.keys:
                key.count -= 1
                if not key.count:
                    del self._keys[key.text]
        self._forget_at = min(self._seconds, default=math.inf)


def _digest(session_key: str, request_id: str) -> bytes:
    """Return what stands for a request: its size does not depend on what the caller sends."""
    texts = (session_key.encode(errors="surrogatepass"), request_id.encode(errors="surrogatepass"))
    return blake2b(
        b"".join(len(text).to_bytes(4) + text for text in texts), digest_size=_DIGEST_BYTES
    ).digest()


REPLAYS: Final = ReplayCache()
"""Of all services of this process: two of them must not serve the same request either."""
