"""The frames of the NATS protocol, cut out of a stream of bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Frame", "FrameReader"]

_END: Final = b"\r\n"
_WITH_BODY: Final = frozenset({b"PUB", b"HPUB", b"MSG", b"HMSG"})


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, as it was on the wire."""

    raw: bytes
    verb: str
    subject: str = ""
    reply: str = ""
    body: bytes = b""
    """Without the headers."""


class FrameReader:
    """Reads one direction of one connection."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take what came, and return the frames that are complete now."""
        self._rest += chunk
        found: list[Frame] = []
        at = 0
        while (frame := self._frame(at)) is not None:
            found.append(frame)
            at += len(frame.raw)
        del self._rest[:at]
        return found

    def _frame(self, at: int) -> Frame | None:
        line_end = self._rest.find(_END, at)
        if line_end < 0:
            return None
        words = bytes(self._rest[at:line_end]).split()
        verb = words[0].upper() if words else b""
        head = line_end + len(_END)
        if verb not in _WITH_BODY:
            return Frame(bytes(self._rest[at:head]), verb.decode("latin-1"))
        end = head + int(words[-1])
        if len(self._rest) < end + len(_END):
            return None
        sizes = 2 if verb.startswith(b"H") else 1
        names = [word.decode() for word in words[1:-sizes]]
        if verb.endswith(b"MSG"):
            del names[1]  # the number of the subscription
        body = head + int(words[-2]) if sizes > 1 else head
        return Frame(
            raw=bytes(self._rest[at : end + len(_END)]),
            verb=verb.decode(),
            subject=names[0],
            reply=names[1] if len(names) > 1 else "",
            body=bytes(self._rest[body:end]),
        )
