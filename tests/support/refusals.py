"""A proxy that loses the answer to a write, ends the connection, and refuses every repeat of the write."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from tests.faults.harness.frames import Frame, FrameReader
from tests.support.proxy import Direction, Proxy

__all__ = ["Refusal", "RefusingProxy"]

_FULL: Final = (
    b'{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0}'
)
_NONE: Final = b"NATS/1.0 503\r\n\r\n"
_NOT_FOUND: Final = b"NATS/1.0 404 Message Not Found\r\n\r\n"
_LIMIT_BYTES: Final = 16


class Refusal(StrEnum):
    """How a server refuses."""

    FULL = "the stream is full"
    NO_STREAM = "no stream listens"
    DENIED = "the account may not publish"
    TOO_LARGE = "the next server accepts only small messages"
    NOT_YET = "a replica has not received the message"


class RefusingProxy(Proxy):
    """Stands between one client and one server. Use it as `async with`.

    The server stores the write whose answer is lost: a caller that reads "nothing was stored" is misled.
    """

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self.lost: list[str] = []
        """The subjects of the requests whose answers were lost."""
        self.refused: list[str] = []
        """Those of the requests that were refused."""
        self._subject = ""
        self._refused: tuple[str, ...] = ()
        self._refusal: Refusal | None = None
        self._skip = 0
        self._asked: dict[tuple[int, str], str] = {}
        self._readers: dict[tuple[int, Direction], FrameReader] = {}

    def lose_then_refuse(
        self, subject: str, refusal: Refusal, *, refused: Sequence[str] | None = None, skip: int = 0
    ) -> None:
        """Lose the next answer to a request, with the connection, and refuse requests after that.

        Args:
            subject: how the subject of the request begins.
            refusal: how.
            refused: how the subjects of the requests begin that are refused. The default is `subject`.
            skip: how many of those are answered as the server answers.
        """
        self._subject, self._refused = subject, (subject,) if refused is None else tuple(refused)
        self._refusal, self._skip = refusal, skip
        self.lost.clear()
        self.refused.clear()

    def accept(self) -> None:
        """Refuse nothing any longer."""
        self._refusal = None

    def let_through(self, line: int, direction: Direction, chunk: bytes) -> bytes:
        """Forward all frames but the answers that are lost; refusals take the place of others."""
        reader = self._readers.setdefault((line, direction), FrameReader())
        pass_on = self._question if direction == "to_server" else self._answer
        return b"".join(pass_on(line, frame) for frame in reader.feed(chunk))

    def _question(self, line: int, frame: Frame) -> bytes:
        watched = self._refused if self.lost else self._subject
        if self._refusal is not None and frame.reply and frame.subject.startswith(watched):
            self._asked[line, frame.reply] = frame.subject
        return frame.raw

    def _answer(self, line: int, frame: Frame) -> bytes:
        if frame.verb == "INFO" and self.lost and self._refusal is Refusal.TOO_LARGE:
            return frame.raw.replace(b'"max_payload":1048576', b'"max_payload":%d' % _LIMIT_BYTES)
        subject = self._asked.pop((line, frame.subject), None)
        if subject is None or self._refusal is None:
            return frame.raw
        if not self.lost:
            self.lost.append(subject)
            self._asked.clear()
            self.cut()
            return b""
        if self._skip:
            self._skip -= 1
            return frame.raw
        self.refused.append(subject)
        return self._refuse(self._refusal, frame, subject)

    def _refuse(self, refusal: Refusal, frame: Frame, subject: str) -> bytes:
        number = frame.raw.split(maxsplit=3)[2].decode()
        match refusal:
            case Refusal.FULL:
                head, body = f"MSG {frame.subject} {number} {len(_FULL)}", _FULL
            case Refusal.NO_STREAM | Refusal.NOT_YET:
                body = _NONE if refusal is Refusal.NO_STREAM else _NOT_FOUND
                head = f"HMSG {frame.subject} {number} {len(body)} {len(body)}"
            case Refusal.DENIED:
                return f"-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n".encode()
            case Refusal.TOO_LARGE:
                return frame.raw
        return head.encode() + b"\r\n" + body + b"\r\n"
