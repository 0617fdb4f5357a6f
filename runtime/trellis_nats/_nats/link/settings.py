"""How to connect: plain data."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

__all__ = ["ConnectionSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Everything about a connection. Secrets do not show in its `repr`."""

    servers: tuple[str, ...] = ()
    """The addresses, without credentials; set by `Connection.open`."""
    name: str = "trellis-nats"
    """Shown in the server's monitoring."""
    inbox_prefix: str = "_INBOX"
    """Answers arrive under it. With one of its own per service, no service can read another's answers."""
    connect_timeout: timedelta = timedelta(seconds=5)
    """How long the first connection is tried. Later ones are tried for ever."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: Path | None = None
    """A `.creds` file, read again at every connection, so that a renewed one is found."""
    nkey_seed: Path | None = None
    """A file with the seed of an nkey."""
    tls: ssl.SSLContext | None = None
    """When given, a server that does not speak TLS is refused before a credential is sent."""
    tls_handshake_first: bool = False
    """Start with TLS instead of NATS' plain greeting. The server must be configured likewise."""
    ping_interval: timedelta = timedelta(seconds=10)
    """Three of these pass before a silent server is left. nats-py's 2 minutes would make it six minutes."""
    max_outstanding_pings: int = 2
    reconnect_wait: timedelta = timedelta(milliseconds=100)
    """The first wait between two attempts; it grows by half, with jitter, up to `max_reconnect_wait`."""
    max_reconnect_wait: timedelta = timedelta(seconds=1)
    """Work shall go on about half a second after a server's return, so no wait is much longer than that."""
