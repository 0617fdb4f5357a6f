"""Incoming protocol commands: splitting and decoding. Pure.

A subject is what its publisher made of it: a server passes on any bytes but space, tab, CR and LF. nats-py's parser ends
the connection at a vertical tab, and its caller at a byte that is not UTF-8: one stored event would cut every link again.
"""

from __future__ import annotations

from typing import Final, Protocol

from trellis_nats._nats.wire.headers import ParsedHeaders, parse_headers
from trellis_nats._nats.wire.message import NO_HEADERS, Message

__all__ = ["CommandHandler", "IncomingCommands"]

_END: Final = b"\r\n"
_ANY: Final = 0
_ACK: Final = "$JS.ACK."
_STORED: Final = "Nats-Sequence"
"""A reply subject, and a header, of messages that a stream returns. A status of theirs is their publisher's, not the server's."""
_MESSAGES: Final = {b"MSG": 5, b"HMSG": 6}
"""The commands that carry a message, and how many words their line has when there is a reply subject."""


class CommandHandler(Protocol):
    """Handles the commands of a server. None of the methods may raise."""

    def on_message(self, number: int, message: Message) -> None:
        """Take a message for a subscription."""
        ...

    def on_command(self, name: bytes, text: str) -> None:
        """Take another command, such as PING, -ERR or INFO, with the text that follows its name."""
        ...


class IncomingCommands:
    """Splits the bytes of a server into commands. It keeps those of a command that is not complete yet."""

    def __init__(self, handler: CommandHandler) -> None:
        self._handler = handler
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._needed_bytes = _ANY
        """The size of the command whose first bytes are kept, as far as it is known."""
        self._block = b""
        self._parsed: ParsedHeaders = (0, "", {})
        """The header block of the last message: the answers of a service, and the frames of a feed, have the same one."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes, and handle the commands that they complete.

        Raises:
            ValueError: the line of a message has a word that should be a number.
            IndexError: the line of a message is too short.
        """
        if self._kept:
            self._kept.append(data)
            self._kept_bytes += len(data)
            if self._kept_bytes < self._needed_bytes:
                return  # joined once, when the message is complete
            data = b"".join(self._kept)
            self._kept.clear()
        rest = self._handle_complete(data)
        if rest < len(data):
            self._kept.append(data[rest:])
            self._kept_bytes = len(data) - rest

    def _handle_complete(self, data: bytes) -> int:
        """Handle the complete commands. Return where the first incomplete one begins."""
        at, size = 0, len(data)
        self._needed_bytes = _ANY
        while (end := data.find(_END, at)) >= 0:
            words = data[at:end].split(b" ")
            if words[0] not in _MESSAGES:
                self._handler.on_command(words[0], b" ".join(words[1:]).decode("utf-8", "replace").strip())
                at = end + 2
                continue
            first = end + 2
            last = first + int(words[-1])
            if last + 2 > size:
                self._needed_bytes = last + 2 - at
                break
            at = last + 2
            self._handler.on_message(int(words[2]), self._build_message(words, data, first, last))
        return at

    def _build_message(self, words: list[bytes], data: bytes, first: int, last: int) -> Message:
        """Build a message from the words of its line, and the bytes between two places."""
        subject = words[1].decode("utf-8", "replace")
        if words[0] == b"MSG":
            reply = words[3].decode("utf-8", "replace") if len(words) == _MESSAGES[b"MSG"] else ""
            return Message(subject, data[first:last], NO_HEADERS, reply)
        reply = words[3].decode("utf-8", "replace") if len(words) == _MESSAGES[b"HMSG"] else ""
        middle = first + int(words[-2])
        block = data[first:middle]
        if block != self._block:
            self._block, self._parsed = block, parse_headers(block)
        status, description, headers = self._parsed
        if status and (reply.startswith(_ACK) or _STORED in headers):
            status, description = 0, ""
        return Message(subject, data[middle:last], headers.copy(), reply, status, description)
