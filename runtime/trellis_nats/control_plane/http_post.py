"""One HTTP request to a control plane: JSON there and back, within a time, with an answer of bounded size.

Redirects are not followed, because the request is signed for one place. Proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import urlsplit

from trellis_nats._support.tcp import connect_tcp
from trellis_nats.errors import BootstrapFailed, ConfigurationError
from trellis_nats.errors.configuration import require_text

if TYPE_CHECKING:
    import socket

__all__ = ["Endpoint", "HttpAnswer", "Unreachable", "parse_endpoint", "post_json"]

_ANSWER_MAX: Final = 1024 * 1024
"""Of an answer, its head included, in bytes. A binding with a hundred queues has 60 KiB."""
_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")
_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")


class Unreachable(Exception):
    """The control plane could not be reached, or did not answer. A later attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a request goes."""

    host: str
    port: int
    path: str
    is_tls: bool

    def __str__(self) -> str:
        return f"{'https' if self.is_tls else 'http'}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """The host, and the port where it is not that of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.is_tls else "http"] else f"{host}:{self.port}"


class HttpAnswer(NamedTuple):
    """An answer, as it arrived."""

    status: int
    content_type: str
    location: str | None
    retry_after: timedelta | None
    body: bytes


def parse_endpoint(url: str, path: str) -> Endpoint:
    """Read the URL of a control plane, and append a path to it.

    Raises:
        ConfigurationError: it is not an http or https URL, or has a user, a query or a fragment.
    """
    require_text("the URL of the control plane", url)
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ConfigurationError("the URL of the control plane has no valid host and port") from None
    if parts.scheme not in _PORTS:
        raise ConfigurationError(
            f'the URL of the control plane must begin with https:// or http://, got "{parts.scheme}:"'
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError("the URL of the control plane must not have a user, a query or a fragment")
    host = parts.hostname or ""
    if _HOST.fullmatch(host) is None or _PATH.fullmatch(parts.path) is None:
        raise ConfigurationError("the URL of the control plane has no valid host and path")
    return Endpoint(
        host=host,
        port=_PORTS[parts.scheme] if port is None else port,
        path=parts.path.rstrip("/") + path,
        is_tls=parts.scheme == "https",
    )


async def post_json(endpoint: Endpoint, body: bytes, *, limit: timedelta) -> HttpAnswer:
    """Send a request, and return its answer, whatever its status.

    Raises:
        Unreachable: there was no answer within the limit.
        BootstrapFailed: TLS failed, or the answer is not one of HTTP, or too long.
    """
    try:
        async with asyncio.timeout(limit.total_seconds()):
            received = await _exchange(endpoint, body)
    except TimeoutError:
        raise Unreachable(f"no answer within {limit.total_seconds():g} s") from None
    except ssl.SSLError as error:
        raise BootstrapFailed(
            "tls", f"{endpoint}: TLS failed: {getattr(error, 'verify_message', '') or error.reason or error}"
        ) from error
    except (
        OSError,
        UnicodeError,
    ) as error:  # a name with a label of more than 63 characters is a UnicodeError
        text = error.strerror if isinstance(error, OSError) else None
        raise Unreachable(text or str(error) or type(error).__name__) from error
    if not received:
        raise Unreachable("the connection was closed without an answer")
    return _read(endpoint, received)


async def _exchange(endpoint: Endpoint, body: bytes) -> bytes:
    context = ssl.create_default_context() if endpoint.is_tls else None
    sock = await connect_tcp(endpoint.host, endpoint.port)
    name = endpoint.host if context else None
    reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    try:
        head = (
            f"POST {endpoint.path} HTTP/1.1\r\n"
            f"Host: {endpoint.authority}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Accept: application/json\r\n"
            "Accept-Encoding: identity\r\n"
            "User-Agent: trellis-nats\r\n"
            "Connection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        received = bytearray()
        # With `Connection: close` a server must close after its answer, so that the end of the stream is that of the answer.
        while chunk := await reader.read(65536):
            received += chunk
            if len(received) > _ANSWER_MAX:
                raise BootstrapFailed(
                    "invalid_response",
                    f"{endpoint} answers with more than {_ANSWER_MAX} bytes: it is not a control plane",
                )
        return bytes(received)
    finally:
        writer.transport.abort()


class _Received:
    """What was received, as the reader of the standard library wants it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._data)


def _read(endpoint: Endpoint, received: bytes) -> HttpAnswer:
    response = HTTPResponse(cast("socket.socket", _Received(received)), method="POST")
    try:
        response.begin()
        body = response.read()
    except (HTTPException, ValueError, OverflowError) as error:
        raise BootstrapFailed(
            "invalid_response", f"{endpoint} does not answer with HTTP: {type(error).__name__}"
        ) from error
    return HttpAnswer(
        status=response.status,
        content_type=response.getheader("Content-Type", ""),
        location=response.getheader("Location"),
        retry_after=_read_retry_after(response.getheader("Retry-After", "")),
        body=body,
    )


def _read_retry_after(text: str) -> timedelta | None:
    """Read seconds, or a date; None when it is neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 86_400))
    with suppress(ValueError, TypeError, OverflowError):
        at = parsedate_to_datetime(text)
        return max(at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC), timedelta(0))
    return None
