"""How the console knows a person, by the options of `trellis web`."""

from __future__ import annotations

import ipaddress
import secrets
from typing import Final, NamedTuple

from trellis_nats import ConfigurationError

from trellis_admin.session import default_actor
from trellis_admin.web.access import Access, Identity, LocalAccess, ProxyAccess, Role, TokenAccess
from trellis_admin.web.protection import LOOPBACK

__all__ = ["Given", "choose_access"]

_TOKEN_MIN: Final = 16
"""Characters of a token."""


class Given(NamedTuple):
    """The options that say who may look."""

    host: str
    actor: str | None
    token: str | None
    viewer_token: str | None
    user_header: str | None
    proxies: list[str]
    operators: list[str]
    viewers: list[str] | None
    read_only: bool


def choose_access(given: Given) -> Access:
    """Return how the console knows who looks at it.

    Raises:
        ConfigurationError: the options contradict each other, or leave a console open that others can reach.
    """
    if (given.token or given.viewer_token) and given.user_header:
        raise ConfigurationError(
            "--web-token and --user-header exclude each other: choose how the console knows a person"
        )
    of_proxy = {"--proxy": given.proxies, "--operator": given.operators, "--viewer": given.viewers}
    if not given.user_header and (unused := [option for option, names in of_proxy.items() if names]):
        raise ConfigurationError(
            f"{', '.join(unused)}: such names and addresses count only with --user-header, behind an authenticating proxy"
        )
    if given.token or given.viewer_token:
        return _by_token(given)
    if given.user_header:
        return _by_proxy(given, given.user_header)
    if given.host not in LOOPBACK:
        raise ConfigurationError(
            f"--host {given.host} lets others reach the console: protect it with --web-token, or with --user-header behind "
            "an authenticating proxy"
        )
    role = Role.VIEWER if given.read_only else Role.OPERATOR
    return LocalAccess(Identity(given.actor or default_actor(), role))


def _by_token(given: Given) -> Access:
    all_tokens = {Role.OPERATOR: given.token, Role.VIEWER: given.viewer_token}
    tokens = {role: token for role, token in all_tokens.items() if token is not None}
    if any(len(token) < _TOKEN_MIN for token in tokens.values()):
        raise ConfigurationError(
            f"a token of the console has at least {_TOKEN_MIN} characters; use a random one"
        )
    if given.read_only:
        tokens.pop(Role.OPERATOR, None)
    if not tokens:
        raise ConfigurationError(
            "--read-only with --web-token lets no person in; set --web-viewer-token instead"
        )
    return TokenAccess(tokens, secret=secrets.token_bytes(32))


def _by_proxy(given: Given, header: str) -> Access:
    try:
        networks = tuple(ipaddress.ip_network(one) for one in given.proxies or ("127.0.0.1", "::1"))
    except ValueError as error:
        raise ConfigurationError(
            f"--proxy: {error}; name an address or a network, such as 10.0.0.0/8"
        ) from None
    return ProxyAccess(header, networks, () if given.read_only else given.operators, given.viewers)
