"""What a program may choose when it connects."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

__all__ = ["Credentials", "Options"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """How to log in to NATS: one of a credentials file, an nkey seed file, a token, or user and password.

    Prefer the files: with them nothing secret crosses the wire.
    """

    file: Path | None = None
    """A `.creds` file: user JWT and seed."""
    nkey_seed_file: Path | None = None
    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How a service or client connects and behaves."""

    open: bool = False
    """Serve and call without signatures on a server that is not on this machine.

    Anyone who may publish to a subject is then served. On loopback addresses this is the default way.
    """
    credentials: Credentials | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """For servers with TLS; the handshake then comes first, so that it cannot be stripped."""
    connect_timeout: timedelta = timedelta(seconds=5)
    """How long the first connection may take. Later ones are tried for ever."""
    request_timeout: timedelta = timedelta(seconds=5)
    """How long a call, a read or a write waits for its answer."""
    shutdown_grace: timedelta = timedelta(seconds=30)
    """How long a running handler may go on after the stop began. Then it is cancelled, and its job released."""
    health_listen: str | None = None
    """Where to answer the probes of an orchestrator: `GET /livez` and `GET /readyz` over HTTP. None: nowhere.

    A port, on loopback then, or `host:port`, as in `"0.0.0.0:8080"`; with port 0 the system chooses one
    (`service.health.address`). The answers hold the texts of failing checks and need no login.
    """
    provision: bool = True
    """Create missing streams, consumers and buckets where the account may. What exists is never altered."""
    replicas: int | None = None
    """Of what is created. None: 3 where at least three servers are seen, else 1."""
