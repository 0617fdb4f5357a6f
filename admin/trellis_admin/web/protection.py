"""Keeps other sites out: the policy of each answer, the checks of each change, and limits on what is sent."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["POLICY", "FormToken", "Protection", "read_form"]

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_BODY_MAX: Final = 2 * 1024 * 1024
"""Bytes of a form: an edited payload is at most 1 MB on the wire, and longer as a form field."""
_FIELDS_MAX: Final = 2000
_SESSION: Final = re.compile("[0-9a-f]{32}")
SESSION_COOKIE: Final = "trellis_session"
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Protection:
    """Refuses requests for other host names and changes from other sites, and adds the policy to each answer.

    A page of another site can have its name resolve to this address. Its requests then carry that name.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = _guard(send)
        if problem := self._find_problem(HTTPConnection(scope), scope["method"]):
            await PlainTextResponse(problem, status_code=403)(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _find_problem(self, connection: HTTPConnection, method: str) -> str | None:
        host = connection.headers.get("host", "")
        name = urlsplit(f"//{host}").hostname
        if self._hosts is not None and name not in self._hosts:
            return f"The console does not answer for the host name {name}; allow it with --host-name."
        if method in {"GET", "HEAD"}:
            return None
        if method != "POST":
            return "Only GET and POST are allowed."
        if connection.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return "A change must come from a page of the console itself (Sec-Fetch-Site)."
        origin = connection.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "A change must come from a page of the console itself (Origin)."
        return None


def _guard(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def add_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-cache, private")
        await send(message)

    return add_headers


@dataclass(frozen=True, slots=True)
class FormToken:
    """Makes and checks the token of forms: bound to a cookie that only this console can have set."""

    secret: bytes = field(repr=False, default_factory=lambda: secrets.token_bytes(32))

    def session(self, connection: HTTPConnection) -> tuple[str, bool]:
        """Return the session of a browser, and whether it is new and its cookie is to be set."""
        session = connection.cookies.get(SESSION_COOKIE, "")
        is_known = _SESSION.fullmatch(session) is not None
        return (session, False) if is_known else (secrets.token_hex(16), True)

    def make(self, session: str) -> str:
        """Return the token for the forms of a session."""
        return hmac.new(self.secret, b"form:" + session.encode(), sha256).hexdigest()

    def is_valid(self, connection: HTTPConnection, token: str) -> bool:
        """Return whether a form that this console has made for this browser carries this token."""
        session, is_new = self.session(connection)
        return not is_new and hmac.compare_digest(self.make(session).encode(), token.encode())


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form."""

    fields: tuple[tuple[str, str], ...]

    def one(self, name: str, default: str = "") -> str:
        """Return a field, the last of its name."""
        return next((value for key, value in reversed(self.fields) if key == name), default)


async def read_form(request: Request) -> Form:
    """Return the fields of a form.

    Raises:
        HTTPException: it is too long, or is not a form.
    """
    kind = Headers(scope=request.scope).get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "A change is sent as a form.")
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > _BODY_MAX:
                raise HTTPException(413, f"A form may have at most {_BODY_MAX:,} bytes.")
    except ClientDisconnect:
        raise HTTPException(400, "The form did not arrive whole.") from None
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise HTTPException(400, "The form cannot be read.") from None
    return Form(tuple(pairs))
