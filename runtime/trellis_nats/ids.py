"""Creates identifiers, and checks that names are valid in a subject."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from trellis_nats.errors import ConfigurationError
from trellis_nats.errors.configuration import require_text

__all__ = [
    "id_of_bytes",
    "id_of_key",
    "id_of_texts",
    "is_token",
    "new_id",
    "new_trace_digits",
    "new_unguessable",
    "require_token",
]

_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""The digits of Crockford's base 32, five bits each."""
_DIGIT_OF_BYTE: Final = bytes(ord(_DIGITS[byte % 32]) for byte in range(256))
"""A digit for each byte, all of them equally often."""
_RANDOM_DIGITS: Final = 16
_TRACE_BYTES: Final = 24
_UNGUESSABLE_BYTES: Final = 12
_PIECES: Final = 128
_ULID_BYTES: Final = 16
_TIME_SHIFTS: Final = tuple(range(45, -1, -5))
_ALL_SHIFTS: Final = tuple(range(125, -1, -5))
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _RandomTexts:
    """Random texts of one length, made many at a time: a system call for each would cost as much as encoding a message."""

    def __init__(self, length: int, write: Callable[[int], str]) -> None:
        """Prepare. `write` returns a random text that is a number of times as long."""
        self._length = length
        self._write = write
        self._unused: list[str] = []
        if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
            os.register_at_fork(after_in_child=self._unused.clear)  # a child would draw the ids of its parent

    def draw(self) -> str:
        try:
            return self._unused.pop()
        except IndexError:
            text, length = self._write(_PIECES), self._length
            # Another thread may do the same at this moment; each of these operations is atomic.
            self._unused.extend([text[at : at + length] for at in range(length, len(text), length)])
            return text[:length]


_draw_digits: Final = _RandomTexts(
    _RANDOM_DIGITS,
    lambda times: os.urandom(times * _RANDOM_DIGITS).translate(_DIGIT_OF_BYTE).decode(),
).draw
new_trace_digits: Final = _RandomTexts(
    2 * _TRACE_BYTES, lambda times: os.urandom(times * _TRACE_BYTES).hex()
).draw
"""Return 48 random hexadecimal digits: a trace id and a span id."""
new_unguessable: Final = _RandomTexts(
    2 * _UNGUESSABLE_BYTES, lambda times: os.urandom(times * _UNGUESSABLE_BYTES).hex()
).draw
"""Return 24 random hexadecimal digits, 96 bits."""


def new_id() -> str:
    """Return a new ULID: 26 characters that sort by time."""
    # Not from a package, because each job takes two: one of python-ulid costs as much as encoding the job.
    return _time_digits(time.time_ns() // 1_000_000) + _draw_digits()


def id_of_key(what: str, scope: tuple[str, ...], key: str) -> str:
    """Return the id of the one thing that an idempotency key stands for: a ULID made of a hash.

    Args:
        what: the thing that the key is for, for the error.
        scope: where the key counts.
        key: the idempotency key.

    Raises:
        ConfigurationError: the key is empty, or not a text.
    """
    require_text("idempotency_key", key)
    if not key:
        raise ConfigurationError(f"{what}: an idempotency key must not be empty")
    try:
        return id_of_texts((*scope, key))
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{what}: the idempotency key {key!r} is not valid Unicode: {error.reason}"
        ) from None


def id_of_texts(texts: tuple[str, ...]) -> str:
    """Return a ULID made of a hash of texts: other texts, or the same ones cut elsewhere, have another one."""
    parts = [text.encode() for text in texts]
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return id_of_bytes(hashlib.sha256(framed).digest()[:_ULID_BYTES])


def id_of_bytes(value: bytes) -> str:
    """Return the ULID that 16 bytes make, the first of them its most significant."""
    number = int.from_bytes(value)
    return "".join(_DIGITS[number >> shift & 31] for shift in _ALL_SHIFTS)


@lru_cache(maxsize=16)  # a busy process asks several times in a millisecond
def _time_digits(milliseconds: int) -> str:
    return "".join(_DIGITS[milliseconds >> shift & 31] for shift in _TIME_SHIFTS)


def is_token(text: str) -> bool:
    """Return whether the text is valid as one token of a NATS subject.

    A server would store `*`, `>` and `.` literally, and they would turn later reads into wildcards.
    """
    return _TOKEN.fullmatch(text) is not None


def require_token(what: str, text: str) -> str:
    """Return the text if it is valid as one token of a subject. `what` names it in the error.

    Raises:
        ConfigurationError: it is not.
    """
    require_text(what, text)
    if not is_token(text):
        raise ConfigurationError(f'{what} "{text:.100}" must be 1 to 64 characters of A-Z a-z 0-9 _ -')
    return text
