"""The settings of a connection. Plain data."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from trellis_nats._nats.link.login import Login
from trellis_nats.options import Credentials

__all__ = ["ConnectionSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """All settings of a connection. Its `repr` does not show secrets."""

    servers: tuple[str, ...] = ()
    """The addresses, without credentials; set by `Connection.open`."""
    name: str = "trellis-nats"
    """Shown in the server's monitoring."""
    inbox_prefix: str = "_INBOX"
    """Replies arrive below it. With a prefix per service, no service can read another's replies."""
    api_prefix: str = "$JS.API"
    """The subjects of JetStream's API begin with it."""
    connect_timeout: timedelta = timedelta(seconds=5)
    """How long to try the first connection. Reconnecting has no time limit."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: Path | None = None
    """A `.creds` file, read again at each connection, so that a renewed file is used."""
    nkey_seed: Path | None = None
    """A file that holds the seed of an nkey, read again at each connection."""
    jwt: str | None = field(default=None, repr=False)
    """A user JWT; with `seed`."""
    seed: str | None = field(default=None, repr=False)
    """The seed of the user in `jwt`, or else of an nkey."""
    login: Login | None = field(default=None, repr=False)
    """If set, it returns the credentials of each connection; those above are not used."""
    tls: ssl.SSLContext | None = None
    """If set, a server without TLS is rejected before any credential is sent."""
    tls_handshake_first: bool = False
    """Start with the TLS handshake, before the server's INFO. The server must be configured the same way."""
    ping_interval: timedelta = timedelta(seconds=10)
    """A server that does not answer is abandoned after three of these. nats-py's 2 minutes would make it six minutes."""
    max_outstanding_pings: int = 2
    reconnect_wait: timedelta = timedelta(milliseconds=100)
    """The first wait between two attempts; it grows by half, with jitter, up to `max_reconnect_wait`."""
    max_reconnect_wait: timedelta = timedelta(seconds=1)
    """Short, so that work resumes about half a second after a server is back."""

    def with_credentials(self, credentials: Credentials) -> ConnectionSettings:
        """Return these settings with other credentials."""
        return replace(
            self,
            user=credentials.user,
            password=credentials.password,
            token=credentials.token,
            credentials=credentials.file,
            nkey_seed=credentials.nkey_seed_file,
            jwt=credentials.jwt,
            seed=credentials.seed,
        )
