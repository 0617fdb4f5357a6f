"""What a program may choose when it connects."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from trellis_nats.errors import ConfigurationError

__all__ = ["Credentials", "Duties", "Options", "Retention"]


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
class Retention:
    """How long the history of a job is kept after its end, by how it ended. None: until the stream drops it.

    An idempotency key lives as long as its job's history: after that, the same key makes a new job.
    """

    completed: timedelta | None = timedelta(days=7)
    cancelled: timedelta | None = timedelta(days=7)
    expired: timedelta | None = timedelta(days=7)
    skipped: timedelta | None = timedelta(days=7)
    failed: timedelta | None = timedelta(days=30)
    stale: timedelta | None = timedelta(days=30)
    dead: timedelta | None = timedelta(days=90)
    dismissed: timedelta | None = timedelta(days=90)


@dataclass(frozen=True, kw_only=True, slots=True)
class Duties:
    """What a service does beside its jobs. One of its instances has the duties at a time; each shows its workers.

    An account that may not list the stream of jobs has none of the duties.
    """

    presence_every: timedelta = timedelta(seconds=30)
    """How often a queue that is worked shows it. Others take a worker for gone after 60 to 90 s without a sign."""
    reconcile_every: timedelta | None = timedelta(seconds=60)
    """The pause between two searches for lost jobs. None: this instance never searches by itself."""
    lost_after: timedelta = timedelta(seconds=60)
    """How long a job without a work message counts as under way, not as lost."""
    purge_every: timedelta | None = timedelta(minutes=10)
    """The pause between two rounds that purge ended jobs, 10,000 at most in each. None: never by itself."""
    retention: Retention = field(default_factory=Retention)
    lease: timedelta = timedelta(seconds=30)
    """How long the duties may be without a holder after their holder died. Renewed every sixth of it."""

    def __post_init__(self) -> None:
        for name in ("presence_every", "reconcile_every", "purge_every", "lease"):
            interval: timedelta | None = getattr(self, name)
            if interval is not None and interval <= timedelta(0):
                raise ConfigurationError(f"{name} must be positive, got {interval}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How a service or client connects and behaves."""

    open: bool = False
    """Serve and call without signatures on a server that is not on this machine.

    Anyone who may publish to a subject is then served. On loopback addresses this is the default way.
    """
    credentials: Credentials | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """For servers with TLS. One that does not offer it is refused before anything secret is sent."""
    connect_timeout: timedelta = timedelta(seconds=5)
    """How long the first connection may take. Later ones are tried for ever."""
    request_timeout: timedelta = timedelta(seconds=5)
    """How long a call, a read or a write waits for its answer."""
    inbox_prefix: str | None = None
    """Where answers arrive: tokens with dots between them. No other account should be allowed to listen there.

    None: `_INBOX_<service>`, for clients `_INBOX_<service>.client`. With one for each program, none can hear the
    answers of another.
    """
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
    duties: Duties = field(default_factory=Duties)
    """Presence of workers, the search for lost jobs, and how long the histories of ended ones are kept."""
