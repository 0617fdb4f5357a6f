"""What the console says once, on the page after a change. It travels in a signed cookie: a link cannot put words there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from starlette.requests import HTTPConnection

from trellis_admin.web.signing import sign, unsign

__all__ = ["NOTICE_COOKIE", "Notice", "read_notice", "write_notice"]

NOTICE_COOKIE: Final = "trellis_said"
_PURPOSE: Final = "said"
_TEXT_MAX: Final = 1000
"""Characters; a browser keeps at most 4 KB of a cookie."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A banner."""

    kind: Literal["good", "bad", "info"]
    heading: str
    text: str = ""


def write_notice(notice: Notice, secret: bytes) -> str:
    """Return the value of the cookie."""
    return sign(_PURPOSE, [notice.kind, notice.heading[:_TEXT_MAX], notice.text[:_TEXT_MAX]], secret)


def read_notice(connection: HTTPConnection, secret: bytes) -> Notice | None:
    """Return what is said on the page that is asked for."""
    match unsign(_PURPOSE, connection.cookies.get(NOTICE_COOKIE, ""), secret):
        case ["good" | "bad" | "info" as kind, str(heading), str(text)]:
            return Notice(kind, heading, text)
        case _:
            return None
