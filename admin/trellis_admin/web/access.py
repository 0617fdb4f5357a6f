"""The people that look at the console, and what they may do there."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final, Protocol

from starlette.requests import HTTPConnection

__all__ = ["Access", "Identity", "LocalAccess", "ProxyAccess", "Role", "TokenAccess"]

TOKEN_COOKIE: Final = "trellis_access"  # noqa: S105 - the name of a cookie


class Role(StrEnum):
    """What a person may do."""

    VIEWER = "viewer"
    """Look at everything but payloads."""
    OPERATOR = "operator"
    """Look, reveal payloads, and change."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A person who looks at the console."""

    actor: str
    """The name in events and in the audit log."""
    role: Role
    source: str = "console"
    """From where, for the audit log."""

    @property
    def may_operate(self) -> bool:
        """Whether the person may reveal and change."""
        return self.role is Role.OPERATOR


class Access(Protocol):
    """The way in which the console knows a person."""

    def identify(self, connection: HTTPConnection) -> Identity | None:
        """Return who sends a request; None if that is unknown, and the request is refused."""
        ...

    @property
    def takes_tokens(self) -> bool:
        """Whether the console asks an unknown person for a token."""
        ...


@dataclass(frozen=True, slots=True)
class LocalAccess:
    """Everyone who reaches the console is the person that started it: it listens on loopback only."""

    identity: Identity
    takes_tokens: bool = False

    def identify(self, connection: HTTPConnection) -> Identity | None:  # noqa: ARG002 - all are the same
        """Return the person who started the console."""
        return self.identity


@dataclass(frozen=True, slots=True)
class TokenAccess:
    """A token makes the role: as `Authorization: Bearer`, or typed once into a page and kept in a cookie."""

    tokens: dict[Role, str] = field(repr=False)
    """The tokens; of at least 16 characters."""
    secret: bytes = field(repr=False)
    """Derives the cookie from the token, so that the cookie does not hold it."""
    takes_tokens: bool = True

    def identify(self, connection: HTTPConnection) -> Identity | None:
        """Return the role of the token that a request carries."""
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        kept = connection.cookies.get(TOKEN_COOKIE, "")
        for role, token in self.tokens.items():
            by_header = scheme.lower() == "bearer" and _is_same(given.strip(), token)
            if by_header or _is_same(kept, self.make_cookie(token)):
                return Identity(actor=f"token {role.value}", role=role)
        return None

    def accept(self, typed: str) -> str | None:
        """Return the cookie for a token that was typed; None if it is wrong."""
        found = [token for token in self.tokens.values() if _is_same(typed.strip(), token)]
        return self.make_cookie(found[0]) if found else None

    def make_cookie(self, token: str) -> str:
        """Return what a cookie holds instead of a token."""
        return hmac.new(self.secret, b"access:" + token.encode(), sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class ProxyAccess:
    """An authenticating proxy names the person in a header. Only addresses of the proxy are believed."""

    header: str
    """Such as `X-Forwarded-User`. The proxy must remove what a browser sends under this name."""
    proxies: Collection[ipaddress.IPv4Network | ipaddress.IPv6Network]
    operators: Collection[str]
    """The names that may change something. All others of the proxy are viewers."""
    viewers: Collection[str] | None = None
    """The names that may look; None for every name that the proxy sends."""
    takes_tokens: bool = False

    def identify(self, connection: HTTPConnection) -> Identity | None:
        """Return the person whom the proxy names."""
        if connection.client is None or not self._is_proxy(connection.client.host):
            return None
        names = connection.headers.getlist(self.header)
        if len(names) != 1 or not (name := names[0].strip()) or not name.isprintable():
            return None
        if name in self.operators:
            return Identity(actor=name, role=Role.OPERATOR)
        if self.viewers is None or name in self.viewers:
            return Identity(actor=name, role=Role.VIEWER)
        return None

    def _is_proxy(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.proxies)


def _is_same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
