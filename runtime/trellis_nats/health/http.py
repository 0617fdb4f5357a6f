"""The part of HTTP/1.1 that a probe needs: reads the head of a request, and writes an answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

__all__ = ["HEAD_END", "Refusal", "Request", "read_head", "write_answer"]

HEAD_END: Final = b"\r\n\r\n"
_METHODS: Final = ("GET", "HEAD")
_REQUEST_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Request:
    """The request of a probe."""

    path: str
    wants_body: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status for a request that is not served."""

    status: HTTPStatus


def read_head(head: bytes) -> Request | Refusal:
    """Read the request line, and validate the header fields as far as HTTP demands it; `head` ends with an empty line."""
    line, *fields = head.removesuffix(HEAD_END).decode("latin-1").split("\r\n")
    parts = line.split(" ")
    if len(parts) != _REQUEST_PARTS:
        return Refusal(HTTPStatus.BAD_REQUEST)
    method, target, version = parts
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        is_http = version.startswith("HTTP/")
        return Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED if is_http else HTTPStatus.BAD_REQUEST)
    names = [field.partition(":")[0].lower() for field in fields if ":" in field]
    if len(names) != len(fields) or not all(name and name == name.strip() for name in names):
        return Refusal(HTTPStatus.BAD_REQUEST)
    if names.count("host") != 1 and (version == "HTTP/1.1" or "host" in names):
        return Refusal(HTTPStatus.BAD_REQUEST)
    if not target.startswith("/"):
        return Refusal(HTTPStatus.BAD_REQUEST)
    if method not in _METHODS:
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED)
    return Request(path=target.partition("?")[0], wants_body=method == "GET")


def write_answer(
    status: HTTPStatus,
    body: bytes,
    *,
    content_type: str = "text/plain; charset=utf-8",
    wants_body: bool = True,
) -> bytes:
    """Return an answer that closes the connection."""
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append(f"Allow: {', '.join(_METHODS)}")
    head = "\r\n".join(lines).encode("latin-1") + HEAD_END
    return head + body if wants_body else head
