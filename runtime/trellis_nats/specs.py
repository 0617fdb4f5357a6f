"""The specs of surfaces in generated code: names, types and numbers, without behaviour."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Generic, Literal, TypeAlias, TypeVar

from pydantic import JsonValue

from trellis_nats.errors import DeclaredError

__all__ = [
    "ACK_WAIT_DEFAULT",
    "BACKOFF_DEFAULT",
    "CONCURRENCY_DEFAULT",
    "GROUP_ACK_WAIT_DEFAULT",
    "GROUP_MAX_DELIVER_DEFAULT",
    "MAX_ACTIVE_DEFAULT",
    "MAX_DELIVER_DEFAULT",
    "MAX_QUEUED_DEFAULT",
    "STALE_POLICY_DEFAULT",
    "WHEN_FULL_DEFAULT",
    "BucketSpec",
    "DownloadSpec",
    "EventSpec",
    "FeedSpec",
    "GroupSpec",
    "JobSpec",
    "KeySpec",
    "OperationCapabilities",
    "OperationSignal",
    "OperationSpec",
    "Replay",
    "RpcSpec",
    "StalePolicy",
    "StateSpec",
    "StoreSpec",
    "UploadSpec",
    "WhenFull",
]

InputT = TypeVar("InputT")

StalePolicy: TypeAlias = Literal["fail-stale", "block"]
"""What happens to a slot whose lease has expired: another job takes it, or it stays blocked."""
WhenFull: TypeAlias = Literal["reject", "coalesce", "replace-oldest"]
"""What happens to a new job when its key has no room."""
Replay: TypeAlias = Literal["new", "all"]
"""Where a new group begins: with the events that are published from then on, or with the oldest one that is stored."""

# The defaults for what a contract leaves out. A test compares these numbers with those of the generator.
MAX_DELIVER_DEFAULT: Final = 5
ACK_WAIT_DEFAULT: Final = timedelta(seconds=30)
CONCURRENCY_DEFAULT: Final = 1
MAX_ACTIVE_DEFAULT: Final = 1
MAX_QUEUED_DEFAULT: Final = 0
STALE_POLICY_DEFAULT: Final[StalePolicy] = "fail-stale"
WHEN_FULL_DEFAULT: Final[WhenFull] = "reject"
BACKOFF_DEFAULT: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
)
"""The waits between attempts."""
GROUP_ACK_WAIT_DEFAULT: Final = timedelta(minutes=5)
GROUP_MAX_DELIVER_DEFAULT: Final = 6
_PLACEHOLDER: Final = re.compile(r"\{/[^{}]*\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySpec:
    """How many jobs of one key may be active at a time, and what happens to further jobs."""

    template: tuple[str, ...]
    """Literals, and JSON pointers into the payload, which begin with `/`."""
    max_active: int = MAX_ACTIVE_DEFAULT
    heartbeat_interval: timedelta | None = None
    """How often an active job renews its slot. None: a third of the ack wait, at most 30 s."""
    lease: timedelta | None = None
    """How long a slot is held without renewal. None: the ack wait, at least three intervals."""
    stale_policy: StalePolicy = STALE_POLICY_DEFAULT
    max_queued: int = MAX_QUEUED_DEFAULT
    """How many jobs of a key may wait while its slots are taken."""
    when_full: WhenFull = WHEN_FULL_DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """One job queue."""

    name: str
    """The queue's name in the contract."""
    payload: object
    """The payload's type, as pydantic understands it."""
    result: object = None
    """The result's type; None where the queue declares none."""
    update: object = None
    """The type of live updates; None where the queue declares none."""
    max_deliver: int = MAX_DELIVER_DEFAULT
    """How many attempts a job has before it is dead."""
    backoff: tuple[timedelta, ...] = BACKOFF_DEFAULT
    """The waits between attempts; the last one repeats. Empty: no wait."""
    ack_wait: timedelta = ACK_WAIT_DEFAULT
    """How soon a dead worker is noticed. A live one sends heartbeats, so this does not limit how long a handler runs."""
    default_deadline: timedelta | None = None
    """How long after its creation a job expires. None: never."""
    concurrency: int = CONCURRENCY_DEFAULT
    """How many handlers of this queue run at a time in one process."""
    progress: bool = True
    """Whether handlers may report progress."""
    logs: bool = True
    """Whether handlers may write log lines into the history of a job."""
    dlq: bool = True
    """Not enforced: a job without attempts left ends as dead in any case."""
    key: KeySpec | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RpcSpec:
    """One remote procedure."""

    name: str
    """For example `Orders.Create`."""
    subject: str
    input: object
    output: object
    errors: tuple[type[DeclaredError], ...] = ()
    """The errors that the contract declares for it, in addition to those that every procedure may answer with."""
    capabilities: tuple[str, ...] = ()
    """What a caller must hold, where calls are checked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadSpec:
    """One remote procedure whose answer is an object that the caller downloads."""

    name: str
    """For example `Files.Download`."""
    subject: str
    input: object
    errors: tuple[type[DeclaredError], ...] = ()
    """The errors that the contract declares for it, in addition to those that every procedure may answer with."""
    capabilities: tuple[str, ...] = ()
    """What a caller must hold, where calls are checked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventSpec:
    """One event."""

    name: str
    """For example `Orders.Shipped`."""
    subject: str
    """The subject, with a `{/pointer}` for each of `params`."""
    event: object
    """The event's type."""
    params: tuple[str, ...] = ()
    """JSON pointers into the event whose values become tokens of the subject."""

    @property
    def filter(self) -> str:
        """The subject that matches the event for all values of its parameters."""
        return _PLACEHOLDER.sub("*", self.subject)


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSpec:
    """One event consumer group."""

    name: str
    """For example `shippedAudit`."""
    replay: Replay = "new"
    concurrency: int = 1
    """How many events are handled at a time, in all instances together. 1: strictly in order."""
    ack_wait: timedelta = GROUP_ACK_WAIT_DEFAULT
    """How soon a dead instance is noticed. A live one sends heartbeats, so this does not limit how long a handler runs."""
    max_deliver: int = GROUP_MAX_DELIVER_DEFAULT
    """How many attempts an event has."""
    backoff: tuple[timedelta, ...] = BACKOFF_DEFAULT
    """The waits between attempts; the last one repeats. Empty: no wait."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedSpec:
    """One feed."""

    name: str
    """For example `Orders.Live`."""
    subject: str
    input: object
    """The type of the request that opens the feed."""
    event: object
    """The type of its events."""
    errors: tuple[type[DeclaredError], ...] = ()
    """The errors that the contract declares, in addition to those that every feed may end with."""
    capabilities: tuple[str, ...] = ()
    """What a caller that opens it must hold, where calls are checked."""


@dataclass(frozen=True, kw_only=True)
class OperationSignal(Generic[InputT]):
    """The base of the signal classes of an operation: what a caller sends to it while it runs."""

    name: ClassVar[str]
    """The signal's name in the contract."""
    input_type: ClassVar[object]
    """The type of its input, as pydantic understands it."""
    input: InputT
    """What the caller sent."""
    sequence: int
    """Counts the signals of one operation, from 1."""
    accepted_at: datetime
    """When the service accepted it, by that process's clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadSpec:
    """What the caller of an operation uploads. Pointers lead into the request (RFC 6901)."""

    store: str
    """The store that gets the content."""
    key: str
    """Where its key is."""
    content_type: str | None = None
    """Where its content type is; None: it has none."""
    metadata: str | None = None
    """Where the texts are that are stored with it; None: there are none."""
    expires_in: timedelta | None = None
    """How long the caller may take for each chunk. None: a minute."""
    max_bytes: int | None = None
    """How large it may be. None: as large as the store permits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationCapabilities:
    """What the callers of an operation must hold, where calls are checked."""

    call: tuple[str, ...] = ()
    """To start one."""
    observe: tuple[str, ...] | None = None
    """To look at one, to watch it, and to wait for it. None: the same as to start one."""
    cancel: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    """To send signals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationSpec:
    """One operation."""

    name: str
    """For example `Orders.Process`."""
    subject: str
    input: object
    """The type of the request that starts it."""
    output: object
    """The type of its result."""
    progress: object = None
    """The type of its progress; None where the contract declares none."""
    signals: tuple[type[OperationSignal[Any]], ...] = ()  # Any: each has its own input
    """The classes of its signals."""
    cancel: bool = False
    """Whether callers may cancel it."""
    errors: tuple[type[DeclaredError], ...] = ()
    """The errors that the contract declares, in addition to those that every operation may end with."""
    upload: UploadSpec | None = None
    """What its caller uploads; None where the contract declares no transfer."""
    capabilities: OperationCapabilities = OperationCapabilities()  # frozen
    """What its callers must hold, where calls are checked."""

    @property
    def control_subject(self) -> str:
        """Where callers ask about an operation, cancel it and send signals."""
        return f"{self.subject}.control"


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketSpec:
    """One key-value bucket."""

    name: str
    value: object = JsonValue
    """The type of its values."""
    required: bool = True
    history: int = 1
    """How many revisions of a key are kept."""
    ttl: timedelta | None = None
    """How long a value is kept. None: indefinitely."""
    max_value_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StateSpec:
    """One state store."""

    name: str
    value: object
    """The type of its values."""
    version: str = "v1"
    """The version of that type."""
    accepted: Mapping[str, object] = field(default_factory=dict[str, object])
    """The types of values that were written under older versions of the contract, by their version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSpec:
    """One object store."""

    name: str
    required: bool = True
    ttl: timedelta | None = None
    """How long an object is kept. None: indefinitely."""
    max_object_bytes: int | None = None
    max_total_bytes: int | None = None
