"""What an event says about the exception that failed an attempt, in addition to its text (reference, 6.4). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Final, Self

from pydantic import JsonValue

__all__ = ["ErrorDetail", "fingerprint"]

_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_FNV_MASK: Final = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorDetail:
    """The exception that failed an attempt. Other runtimes may leave out everything but the message."""

    message: str
    """The text of the exception, cut to 1 KiB by this runtime; the error of the event has more of it."""
    type: str | None = None
    """The name of its class."""
    stack: str | None = None
    """Where it was raised: the innermost frames, as a traceback shows them, without any value of a variable."""
    fingerprint: str | None = None
    """16 hexadecimal digits, the same for equal first lines of a message in one queue."""

    def to_json(self, service: str, queue: str) -> dict[str, JsonValue]:
        """Return the member `errorDetail` of an event."""
        members: dict[str, JsonValue] = {"message": self.message}
        if self.type is not None:
            members["type"] = self.type
        if self.stack is not None:
            members["stack"] = self.stack
        return {**members, "fingerprint": fingerprint(service, queue, self.message)}

    @classmethod
    def read(cls, written: JsonValue) -> Self | None:
        """Read the member of an event. None: it has none, or one that this version does not understand."""
        match written:
            case {"message": str(message), **others}:
                texts = {
                    name: text
                    for name in ("type", "stack", "fingerprint")
                    if isinstance(text := others.get(name), str)
                }
                return cls(message=message, **texts)
            case _:
                return None


def fingerprint(service: str, queue: str, message: str) -> str:
    """Return the fingerprint of an error, as every runtime computes it.

    It is FNV-1a with 64 bits over the service, the queue and the first line of the message, in lower case and with one
    space for each run of white space.
    """
    lines = message.splitlines()
    line = " ".join(lines[0].lower().split()) if lines else ""
    data = f"{service}\0{queue}\0{line}".encode(errors="replace")
    return f"{reduce(_mix, data, _FNV_OFFSET):016x}"


def _mix(mixed: int, byte: int) -> int:
    return ((mixed ^ byte) * _FNV_PRIME) & _FNV_MASK
