"""What is known about a server, its streams and its consumers, read once. The checks are functions of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import JsonValue
from trellis_nats import Contract
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats.binding import JobsBinding
from trellis_nats.grants import Grant, Role
from trellis_nats.ids import is_token
from trellis_nats.jobs.maintenance.removed_queues import RemovedQueue
from trellis_nats.jobs.model.subjects import STREAM, WORK_PREFIX
from trellis_nats.jobs.pause import QueuePause
from trellis_nats.provision import Change

from trellis_admin.queries import Attention, VersionWait

__all__ = [
    "ContractFacts",
    "Facts",
    "HeartbeatFacts",
    "IndexFacts",
    "ProjectionFacts",
    "QueueFacts",
    "ServerFacts",
    "StreamFacts",
    "queue_of",
]

NO_CONFIG: Final[Mapping[str, JsonValue]] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFacts:
    """The server that answered, and what the account may use of it."""

    version: tuple[int, int, int]
    servers: int = 1
    """How many the cluster has."""
    max_payload: int = 1024 * 1024
    """In bytes."""
    has_jetstream: bool = True
    clock_offset: timedelta | None = None
    """How far its clock is ahead of this machine's; None where it did not say."""
    clock_error: timedelta = timedelta(0)
    """How wrong that can be: half of the time that the answer took."""
    storage_used: int = 0
    """Of the account, in bytes on disk."""
    storage_limit: int = -1
    """-1: none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamFacts:
    """A stream as the server describes it."""

    config: Mapping[str, JsonValue]
    messages: int = 0
    size: int = 0
    """In bytes."""
    last_sequence: int = 0
    lag: int = 0
    """How many messages its source has that were not sent to it yet. 0 says nothing: a few that it refuses count as sent."""
    sourced: int | None = None
    """Up to which sequence it has taken the messages of its source; None on servers before 2.15, which do not say."""
    source_error: str | None = None
    is_source_stalled: bool = False
    """Whether it was behind, and had taken nothing a moment later."""
    replicas_behind: tuple[str, ...] = ()
    """The servers whose replica is offline or not current."""
    leader: str | None = None
    is_clustered: bool = False

    def flag(self, name: str) -> bool:
        """Return a setting that is on or off."""
        return self.config.get(name) is True

    def number(self, name: str) -> int:
        """Return a setting that is a number; 0 where it is left out or unlimited."""
        value = self.config.get(name)
        return value if isinstance(value, int) and value > 0 else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatFacts:
    """The newest heartbeat of a process for one of its queues."""

    service: str
    queue: str
    instance: str
    at: datetime
    is_stopping: bool = False
    loop_lag: timedelta = timedelta()
    """The longest delay of its event loop before it was sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueFacts:
    """A queue that the server knows, by its consumers."""

    service: str
    queue: str
    consumer: str
    """The name of its consumers."""
    work: ConsumerInfo
    work_stream: str
    due: ConsumerInfo | None = None
    """Its consumer in stream JOBS_DELAYED."""
    pause: QueuePause | None = None
    """The record in the bucket of the service; None while it is not paused."""

    @property
    def name(self) -> str:
        """What texts call it."""
        return f"{self.service}/{self.queue}"

    @property
    def is_of_platform(self) -> bool:
        """Whether a control plane named its consumers. It chooses their settings too, and makes no bucket for the queue."""
        return self.consumer != f"{self.service}__{self.queue}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractFacts:
    """What a generated package states, compared with the server."""

    contract: Contract
    jobs: JobsBinding | None
    changes: tuple[Change, ...] = ()
    removed: tuple[RemovedQueue, ...] = ()
    role: Role | None = None
    missing: tuple[Grant, ...] = ()
    """What the role needs and the account lacks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFacts:
    """What only the index of jobs knows."""

    stale_lately: int = 0
    """How many jobs ended as stale within the last day and were not created again."""
    version_waits: tuple[VersionWait, ...] = ()
    """Jobs that no free worker begins, and that another version of the contract wrote."""
    attention: tuple[Attention, ...] = ()
    """What needs an operator, as the console names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectionFacts:
    """The index of jobs on this machine, compared with the stream."""

    path: Path
    compared: int
    """How many jobs."""
    differences: tuple[str, ...]
    number: int
    """How many differences there are; not all are in `differences`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Everything that the checks look at."""

    at: datetime
    server: ServerFacts
    streams: Mapping[str, StreamFacts] = field(default_factory=dict[str, StreamFacts])
    queues: tuple[QueueFacts, ...] = ()
    unknown_consumers: tuple[tuple[str, str], ...] = ()
    """Streams and consumers in them that are not those of a queue."""
    heartbeats: tuple[HeartbeatFacts, ...] = ()
    contracts: tuple[ContractFacts, ...] = ()
    excess: tuple[str, ...] = ()
    """What the account may do beyond the role that was asked about."""
    died_lately: int = 0
    """How many deaths there were within the last hour: a job that is replayed may die again."""
    died: int = 0
    """How many jobs are or were dead, as far as the stream goes back, however often each of them died."""
    index: IndexFacts | None = None
    """None: it was not read."""
    undelivered: int = 0
    """Reports of deliveries that reached a limit of the server."""
    projection: ProjectionFacts | None = None
    """None: it was not compared."""
    unreadable: tuple[str, ...] = ()
    """What the account may not look up, as sentences."""

    @property
    def jobs(self) -> StreamFacts | None:
        """The stream of all events of jobs."""
        return self.streams.get(STREAM)


def queue_of(consumer: str, info: ConsumerInfo) -> tuple[str, str] | None:
    """Return the service and the queue of a consumer of the work stream, by its name or by its filter."""
    service, parts, queue = consumer.partition("__")
    if parts and service and queue:
        return service, queue
    tokens = str(info.config.get("filter_subject", "")).split(".")
    is_one = ".".join(tokens[:2]) == WORK_PREFIX and all(map(is_token, tokens[2:]))
    if is_one and len(tokens) == 4:  # noqa: PLR2004 - trellis.work.<service>.<queue>
        return tokens[2], tokens[3]
    return None
