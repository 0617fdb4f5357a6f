"""The options of `connect`."""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from trellis_nats.auth.authority import Authority
from trellis_nats.auth.session_key import SessionKey
from trellis_nats.errors import ConfigurationError, TimedeltaExpected
from trellis_nats.errors.configuration import require_duration, require_kind
from trellis_nats.ids import is_token

__all__ = ["Credentials", "CredentialsFunction", "Maintenance", "Options", "Provision", "Retention"]


Provision: TypeAlias = Literal["create", "update", "verify", "off"]
"""See `Options.provision`."""

_KINDS: Final[tuple[tuple[str, type | tuple[type, ...], str], ...]] = (
    ("open", bool, "True or False"),
    ("session_key", SessionKey, "a SessionKey"),
    ("tls", ssl.SSLContext, "an SSLContext"),
    ("inbox_prefix", str, "a str"),
    ("jitter", (int, float), "a number"),
    ("health_listen", str, "a str"),
    ("jetstream_domain", str, "a str"),
    ("jetstream_api_prefix", str, "a str"),
    ("max_bytes", int, "a whole number"),
    ("replicas", int, "a whole number"),
    ("absent_uses", (set, frozenset), "a set"),
)
"""The options of a plain kind; None is allowed where it is the default."""
_REPLICAS_MAX: Final = 5
"""Of a stream, on every server."""
_MAY_BE_ZERO: Final = ("version_patience", "shutdown_grace")
_PREFIX: Final = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """How to log in to NATS: a credentials file, an nkey seed file, `jwt` and `seed`, or `user` and `password`.

    A `token` is alone, or next to any of them but a password. Its `repr` shows no secret. Prefer files and seeds: with them no
    secret is sent to the server. Files are read at each dial, so that a renewed one is used.
    """

    file: Path | None = None
    """A `.creds` file: user JWT and seed."""
    nkey_seed_file: Path | None = None
    jwt: str | None = field(default=None, repr=False)
    """A user JWT; with `seed`, what a `.creds` file contains."""
    seed: str | None = field(default=None, repr=False)
    """The nkey seed of the user in `jwt`; without `jwt`, that of an nkey which the server knows."""
    token: str | None = field(default=None, repr=False)
    """An authentication token. A deployment with a control plane expects it next to `jwt` and `seed`."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for item in fields(self):
            value: object = getattr(self, item.name)
            kind = Path if item.name.endswith("file") else str
            if value is not None and not isinstance(value, kind):
                raise ConfigurationError(
                    f"Credentials.{item.name}: a {kind.__name__} is expected, got a {type(value).__name__}"
                )
            if value == "" and item.name in {"jwt", "seed", "token"}:
                raise ConfigurationError(f"Credentials.{item.name} is empty")
        if self.jwt is not None and self.seed is None:
            raise ConfigurationError("Credentials.jwt needs the seed of its user: give Credentials.seed too")
        if (self.user is None) != (self.password is None):
            raise ConfigurationError("Credentials: give user and password together")
        ways = [
            name for name in ("file", "nkey_seed_file", "seed", "user") if getattr(self, name) is not None
        ]
        if self.user is not None and self.token is not None:
            ways.append("token")
        if len(ways) > 1:
            raise ConfigurationError(
                f"Credentials: {' and '.join(ways)} cannot be sent together: give one of them"
            )


CredentialsFunction: TypeAlias = Callable[[], Credentials | Awaitable[Credentials]]
"""Returns the credentials of one dial: it is called before each, and may be `async`. For `Options.credentials`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How long the history of a job is kept after its end, by its last state; and the record of an operation.

    None, of a state: until stream JOBS drops it. It drops every event after 90 days, unless an operator has changed its
    `max_age`: a longer time here has no effect then.

    An idempotency key lives as long as its job's history: after that, the same key creates a new job.
    """

    completed: timedelta | None = timedelta(days=7)
    cancelled: timedelta | None = timedelta(days=7)
    expired: timedelta | None = timedelta(days=7)
    skipped: timedelta | None = timedelta(days=7)
    failed: timedelta | None = timedelta(days=30)
    stale: timedelta | None = timedelta(days=30)
    dead: timedelta | None = timedelta(days=90)
    dismissed: timedelta | None = timedelta(days=90)
    operations: timedelta | None = timedelta(days=7)
    """How long the record of an operation is kept after its end, however it ended. None: until an operator removes it."""

    def __post_init__(self) -> None:
        for item in fields(self):
            require_duration(f"Retention.{item.name}", getattr(self, item.name), may_be_zero=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Maintenance:
    """What a service does in addition to working its jobs.

    Every worker publishes heartbeats. One instance at a time, the leader, searches for lost jobs and purges ended ones.
    An instance whose account may not scan the stream of jobs never becomes the leader.
    """

    heartbeat_every: timedelta = timedelta(seconds=30)
    """How often a worker publishes a heartbeat for each of its queues, and a service its `Health.Heartbeat`.

    Other tools count a worker as gone after 60 to 90 s.
    """
    rescue_every: timedelta | None = timedelta(seconds=60)
    """The pause between two searches for lost jobs. None: no automatic search in this instance."""
    lost_after: timedelta = timedelta(seconds=60)
    """How long a job without a work message does not count as lost yet."""
    purge_every: timedelta | None = timedelta(minutes=10)
    """The pause between two purges of at most 10,000 ended jobs, and as many operations. None: no automatic purge in this instance."""
    retention: Retention = field(default_factory=Retention)
    lease: timedelta = timedelta(seconds=30)
    """How long the service may be without a leader after its leader died. The lease is renewed every sixth of it.

    Also that of a process on the operations that it runs: so long after its death, others take them over.
    """

    def __post_init__(self) -> None:
        require_kind("Maintenance.retention", self.retention, Retention, "a Retention")
        for name in ("heartbeat_every", "rescue_every", "lost_after", "purge_every", "lease"):
            value: timedelta | None = getattr(self, name)
            require_duration(f"Maintenance.{name}", value, may_be_zero=name == "lost_after")
            if value is None and name not in {"rescue_every", "purge_every"}:
                raise TimedeltaExpected(f"Maintenance.{name}", value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How a service or client connects and behaves."""

    open: bool = False
    """Serve and call without signatures on a server that is not on this machine.

    Every program that may publish to a subject is then served, unless there are `callers`, which are checked in any case. For
    loopback addresses this is not needed.
    """
    session_key: SessionKey | None = None
    """Signs every call of this program, so that services which check signatures know who calls. None: calls are not signed."""
    callers: Authority | None = field(default=None, repr=False)
    """Who may call this service, for instance a `CallersFile`: every call must then be signed. None: open mode, calls are not checked.

    A client takes no calls, and does not use it.
    """
    credentials: Credentials | CredentialsFunction | None = field(default=None, repr=False)
    """How to log in: the credentials, or a function that returns them.

    The function is called at each dial: for the first connection, for each reconnect, and for the second connection that
    keeps running jobs alive. An `async` function runs on the event loop that connected, any other in a thread of its own. It
    has 10 s, and `connect_timeout` at the first connection. If it raises or takes longer, the dial fails and is tried again;
    a `ConfigurationError`, or a result that is not `Credentials`, ends the first connection at once.
    """
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """For servers with TLS. A server that does not offer it is refused before any secret is sent."""
    connect_timeout: timedelta = timedelta(seconds=5)
    """How long the first connection may take. Reconnects are attempted indefinitely."""
    request_timeout: timedelta = timedelta(seconds=5)
    """How long a call, a read or a write waits for its answer. A write of a job or an event without one is repeated twice.

    What looks at whole queues, buckets and stores (`stats`, `dead`, `keys`, `list` …) has limits of its own.
    """
    inbox_prefix: str | None = None
    """The prefix of the subjects on which answers arrive: tokens with dots between them.

    Allow no other account to subscribe there. None: `_INBOX_<service>`, for clients `_INBOX_<service>.client`. When
    each program has its own prefix, none can receive the answers to another.
    """
    jitter: float = 0.1
    """By which part the waits of a queue's backoff vary, so that jobs which failed together do not return together.

    0.1 is ±10 %; 0 is for tests that measure the waits. The wait that a handler asks for (`JobRetry(after=…)`) and a
    `delay` do not vary. Reconnects vary always, and more.
    """
    version_patience: timedelta = timedelta(hours=1)
    """How long a job, or an event of a group, waits if another version of the contract wrote it and this one cannot read it.

    It uses no attempt meanwhile, and a process of that version can take it. After this time the job fails, and the event is
    removed; with zero, at once. In a group that handles events in order, the later events wait too.
    """
    shutdown_grace: timedelta = timedelta(seconds=30)
    """How long a running handler may continue after a stop began. Then it is cancelled, and its job released."""
    health_listen: str | None = None
    """The address for the probes of an orchestrator: `GET /livez` and `GET /readyz` over HTTP. None: no listener.

    For services; a client refuses it. A port on loopback, or `host:port`, as in `"0.0.0.0:8080"`; with port 0 the system chooses one
    (`service.health.address`). The answers contain the texts of failing checks, and need no authentication.
    """
    provision: Provision = "create"
    """What a service does about its streams, consumers, buckets and stores when it connects.

    * `create`: create what is missing, where the account may, and verify the rest. What exists is not altered, with one
      exception: atomic batches (`create_many`) are switched on in the stream of jobs, where the account may update it. Servers
      before 2.12, and other runtimes, create it without them.
    * `update`: also give consumers, buckets and stores the settings of the contract, where no newer version of it has set them.
      Nothing is deleted and no limit of stored values lowered: that takes `trellis provision apply --allow-destroy`.
    * `verify`: create nothing. Something missing, or a difference that breaks correctness, is an error. A process with a binding
      from a control plane does no more than this.
    * `off`: look nothing up. A process that pulls still verifies its consumer.
    """
    jetstream_domain: str | None = None
    """The domain of the JetStream to use, for instance the hub's from a leaf node. None: that of the server."""
    jetstream_api_prefix: str | None = None
    """The prefix of JetStream's API where the account maps or imports it, instead of `$JS.API`. Not with a domain."""
    max_bytes: int | None = None
    """How many bytes each created stream or bucket may hold; for accounts that require a limit.

    A full stream of jobs then refuses new jobs, instead of dropping the oldest. None: no limit.
    """
    replicas: int | None = None
    """How many replicas a created stream or bucket has, 1 to 5. None: 3 in a cluster of at least three servers, else 1."""
    absent_uses: frozenset[str] = frozenset()
    """The optional uses that are absent in this deployment, by their alias in the contract: `service.uses.<alias>` is then None.

    Without it, and without a binding that states what is granted, every optional use counts as present.
    """
    maintenance: Maintenance = field(default_factory=Maintenance)
    """Worker heartbeats, the search for lost jobs, and how long the histories of ended jobs are kept."""

    def __post_init__(self) -> None:
        self._check_kinds()
        self._check_numbers()
        for name in ("connect_timeout", "request_timeout", "version_patience", "shutdown_grace"):
            value: timedelta | None = getattr(self, name)
            require_duration(f"Options.{name}", value, may_be_zero=name in _MAY_BE_ZERO)
            if value is None:
                raise TimedeltaExpected(f"Options.{name}", value)
        login: object = self.credentials
        if not (login is None or isinstance(login, Credentials) or callable(login)):
            raise ConfigurationError(
                f"Options.credentials: Credentials or a function is expected, got a {type(login).__name__}"
            )
        if self.jetstream_domain is not None and self.jetstream_api_prefix is not None:
            raise ConfigurationError(
                "give either jetstream_domain or jetstream_api_prefix: a domain is a prefix"
            )
        if self.jetstream_domain is not None and not is_token(self.jetstream_domain):
            raise ConfigurationError(
                f'jetstream_domain "{self.jetstream_domain}" is not a valid name of a domain'
            )
        if _PREFIX.fullmatch(self.api_prefix) is None:
            raise ConfigurationError(
                f'jetstream_api_prefix "{self.jetstream_api_prefix}" must be tokens with dots between them, without a '
                "dot at the end"
            )
        if self.provision not in get_args(Provision):
            raise ConfigurationError(
                f'provision must be "create", "update", "verify" or "off", got {self.provision!r}'
            )

    def _check_kinds(self) -> None:
        require_kind("Options.maintenance", self.maintenance, Maintenance, "a Maintenance")
        for name, kind, what in _KINDS:
            value: object = getattr(self, name)
            if value is not None or name in {"open", "jitter", "absent_uses"}:
                require_kind(f"Options.{name}", value, kind, what)
        if self.callers is not None and not callable(getattr(self.callers, "judge", None)):
            raise ConfigurationError(
                f"Options.callers: an Authority is expected, got a {type(self.callers).__name__}"
            )

    def _check_numbers(self) -> None:
        if self.replicas is not None and not 1 <= self.replicas <= _REPLICAS_MAX:
            raise ConfigurationError(f"Options.replicas: must be 1 to {_REPLICAS_MAX}, got {self.replicas}")
        if self.max_bytes is not None and self.max_bytes <= 0:
            raise ConfigurationError(f"max_bytes must be positive, got {self.max_bytes}")
        if not 0 <= self.jitter < 1:
            raise ConfigurationError(f"jitter must be at least 0 and less than 1, got {self.jitter}")

    @property
    def api_prefix(self) -> str:
        """The prefix of JetStream's API."""
        if self.jetstream_domain is not None:
            return f"$JS.{self.jetstream_domain}.API"
        return "$JS.API" if self.jetstream_api_prefix is None else self.jetstream_api_prefix
