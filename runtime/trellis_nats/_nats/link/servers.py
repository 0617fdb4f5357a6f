"""The addresses of a cluster: configured, discovered, and which is next. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote, urlsplit

from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import ConfigurationError
from trellis_nats.errors.configuration import require_text

__all__ = ["ServerPool", "is_loopback", "parse_servers"]

_SCHEMES: Final = ("nats", "tls")
_PORT: Final = 4222
_LARGE_PORT: Final = re.compile(
    r"[a-z]+://(?:.*@)?((?:[\w-]+\.)+[\w-]+|localhost|\[[0-9a-f:]+\]):(\d{5,6})/?", re.IGNORECASE
)
"""An address whose host has a dot, so that it is not a user and a password."""


@dataclass(slots=True)
class ServerPool:
    """The servers of one cluster, in rotation."""

    configured: tuple[str, ...]
    discovered: tuple[str, ...] = ()
    _turn: int = field(default=0, init=False)

    def next(self) -> str:
        """Return the address to try now."""
        known = self.addresses()
        address = known[self._turn % len(known)]
        self._turn += 1
        return address

    def addresses(self) -> tuple[str, ...]:
        """Return every known address, the configured ones first."""
        return self.configured + tuple(
            address for address in self.discovered if address not in self.configured
        )

    def set_discovered(self, hosts: Iterable[str]) -> None:
        """Replace the discovered servers by the `host:port` list of a server's INFO."""
        # If TLS is required for one configured server, it is required for all discovered ones.
        scheme = "tls" if any(address.startswith("tls://") for address in self.configured) else "nats"
        self.discovered = tuple(f"{scheme}://{host}" for host in hosts)


def parse_servers(url: str, settings: ConnectionSettings) -> tuple[ServerPool, ConnectionSettings]:
    """Parse one address, or several separated by commas.

    User and password move from the address into the settings, so that no error text or log shows them. Values that the
    settings already have take precedence.

    Raises:
        ConfigurationError: an address is malformed, its scheme is not `nats` or `tls`, or two have different users.
    """
    require_text("the server's address (several have commas between them)", url)
    addresses, logins = list[str](), set[str]()
    for position, text in enumerate(url.split(","), start=1):
        bare, userinfo = _split(text.strip(), position)
        addresses.append(bare)
        if userinfo is not None:
            logins.add(userinfo)
            settings = _with_userinfo(settings, userinfo)
    if len(logins) > 1:
        raise ConfigurationError(
            "the server addresses have more than one user, password or token: all servers of a cluster get the same one"
        )
    servers = tuple(dict.fromkeys(addresses))
    return ServerPool(servers), replace(settings, servers=servers)


def _split(text: str, position: int) -> tuple[str, str | None]:
    full = text if "://" in text else f"nats://{text}"
    try:
        parts = urlsplit(full)
        port = parts.port or _PORT
    except ValueError:
        shown = _find_port(full)
        raise ConfigurationError(f"server address {position} has no valid host and port{shown}") from None
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(
            f'server address {position} starts with "{parts.scheme}://"; use nats:// or tls://'
        )
    if "@" in full.partition("://")[2][len(parts.netloc) :]:
        raise ConfigurationError(
            f"server address {position} has a / ? or # in its user, password or token: write it as %2F, %3F or %23"
        )
    if parts.hostname is None:
        raise ConfigurationError(f"server address {position} has no host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    userinfo = parts.netloc.rpartition("@")[0] or None
    return f"{parts.scheme}://{host}:{port}", userinfo


def _find_port(address: str) -> str:
    """Return a port that is too large, with its host. Nothing else is shown: it could be a password."""
    found = _LARGE_PORT.fullmatch(address)
    return f': port {found[2]} of "{found[1]}" is above 65535' if found else ""


def _with_userinfo(settings: ConnectionSettings, userinfo: str) -> ConnectionSettings:
    user, colon, password = userinfo.partition(":")
    if not colon:
        return settings if settings.token is not None else replace(settings, token=unquote(user))
    if settings.user is not None:
        return settings
    return replace(settings, user=unquote(user), password=unquote(password))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
