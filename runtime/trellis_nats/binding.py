"""The names and numbers of everything that a service uses on the server.

A control plane may pass a binding as JSON; otherwise the surfaces build one from the contract
(`Surface.local_binding`). The rest of the runtime takes the names of queues and buckets from the binding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats.clock import from_milliseconds, to_milliseconds
from trellis_nats.codec import list_issues
from trellis_nats.errors import ConfigurationError
from trellis_nats.specs import (
    ACK_WAIT_DEFAULT,
    BACKOFF_DEFAULT,
    CONCURRENCY_DEFAULT,
    GROUP_ACK_WAIT_DEFAULT,
    GROUP_MAX_DELIVER_DEFAULT,
    MAX_ACTIVE_DEFAULT,
    MAX_DELIVER_DEFAULT,
    MAX_QUEUED_DEFAULT,
    STALE_POLICY_DEFAULT,
    WHEN_FULL_DEFAULT,
    Replay,
    StalePolicy,
    WhenFull,
)

__all__ = [
    "Binding",
    "BucketBinding",
    "GroupBinding",
    "JobsBinding",
    "KeyBinding",
    "KeyQueueBinding",
    "OperationsBinding",
    "QueueBinding",
    "StoreBinding",
    "keys_bucket_of",
    "merge_bindings",
    "parse_binding",
]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class KeyBinding(_Wire):
    """How many jobs of one key may be active. Absent fields have defaults (`jobs.keys.model.policy`)."""

    key: tuple[str, ...] = Field(min_length=1)
    """Literals, and JSON pointers into the payload."""
    max_active: int = Field(default=MAX_ACTIVE_DEFAULT, ge=1)
    heartbeat_interval_ms: int | None = Field(default=None, ge=1)
    heartbeat_ttl_ms: int | None = Field(default=None, ge=1)
    stale_policy: StalePolicy = STALE_POLICY_DEFAULT


class KeyQueueBinding(_Wire):
    """What happens to jobs that are created while the slots of their key are taken."""

    max_queued_per_key: int = Field(default=MAX_QUEUED_DEFAULT, ge=0)
    when_full: WhenFull = WHEN_FULL_DEFAULT


class QueueBinding(_Wire):
    """One job queue."""

    queue_type: str = Field(min_length=1)
    publish_prefix: str = Field(pattern=r"^trellis\.jobs\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")
    """Lifecycle events go to `<publish_prefix>.<job id>.<event>`."""
    work_subject: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    consumer_name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    updates_prefix: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+$")
    """Live updates go to `<updates_prefix>.<job id>`. None: the queue has none."""
    max_deliver: int = Field(default=MAX_DELIVER_DEFAULT, ge=1)
    backoff_ms: tuple[int, ...] = tuple(map(to_milliseconds, BACKOFF_DEFAULT))
    ack_wait_ms: int = Field(default=to_milliseconds(ACK_WAIT_DEFAULT), ge=1)
    default_deadline_ms: int | None = Field(default=None, ge=1)
    concurrency: int = Field(default=CONCURRENCY_DEFAULT, ge=1)
    progress: bool = True
    """Whether handlers may report progress."""
    logs: bool = True
    """Whether handlers may write log lines into the history of a job."""
    key_concurrency: KeyBinding | None = None
    queue: KeyQueueBinding | None = None

    @property
    def backoff(self) -> tuple[timedelta, ...]:
        """The waits between attempts; the last one repeats."""
        return tuple(map(from_milliseconds, self.backoff_ms))

    @property
    def ack_wait(self) -> timedelta:
        """How long the server waits for an acknowledgement or a heartbeat before it redelivers a job."""
        return from_milliseconds(self.ack_wait_ms)

    @property
    def default_deadline(self) -> timedelta | None:
        """How long after its creation a job expires."""
        return None if self.default_deadline_ms is None else from_milliseconds(self.default_deadline_ms)


class JobsBinding(_Wire):
    """The job queues of one service."""

    namespace: str
    service_name: str | None = None
    """The name of the service in events. None: the namespace."""
    work_stream: str
    queues: Mapping[str, QueueBinding]

    @property
    def service(self) -> str:
        """The name of the service in events."""
        return self.service_name or self.namespace

    @property
    def keys_bucket(self) -> str:
        """The bucket for the records that instances share: concurrency keys, and the lease of the leader."""
        return keys_bucket_of(self.namespace)


class BucketBinding(_Wire):
    """One key-value bucket."""

    bucket: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    history: int = Field(default=1, ge=1)
    ttl_ms: int = Field(default=0, ge=0)
    """0: values are kept indefinitely."""
    max_value_bytes: int | None = Field(default=None, ge=1)


class StoreBinding(_Wire):
    """One object store."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    ttl_ms: int = Field(default=0, ge=0)
    """0: objects are kept indefinitely."""
    max_object_bytes: int | None = Field(default=None, ge=1)
    max_total_bytes: int | None = Field(default=None, ge=1)


class GroupBinding(_Wire):
    """One event consumer group (reference, 6.3)."""

    alias: str = Field(min_length=1)
    """The name of the group in the contract."""
    stream: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    consumer_name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    filter_subjects: tuple[str, ...] = Field(min_length=1)
    replay: Replay = "new"
    concurrency: int = Field(default=1, ge=1)
    ack_wait_ms: int = Field(default=to_milliseconds(GROUP_ACK_WAIT_DEFAULT), ge=1)
    max_deliver: int = Field(default=GROUP_MAX_DELIVER_DEFAULT, ge=1)
    backoff_ms: tuple[int, ...] = tuple(map(to_milliseconds, BACKOFF_DEFAULT))

    @property
    def ack_wait(self) -> timedelta:
        """How long the server waits for an acknowledgement or a heartbeat before it redelivers an event."""
        return from_milliseconds(self.ack_wait_ms)

    @property
    def backoff(self) -> tuple[timedelta, ...]:
        """The waits between attempts; the last one repeats."""
        return tuple(map(from_milliseconds, self.backoff_ms))


class OperationsBinding(_Wire):
    """Where the operations of a service are stored."""

    bucket: str = Field(pattern=r"^[A-Za-z0-9_-]+$")


class Binding(_Wire):
    """Everything that a service uses on the server."""

    jobs: JobsBinding | None = None
    kv: Mapping[str, BucketBinding] = Field(default_factory=dict)
    store: Mapping[str, StoreBinding] = Field(default_factory=dict)
    event_consumers: Mapping[str, GroupBinding] = Field(default_factory=dict)
    uses: frozenset[str] | None = None
    """The aliases of the optional uses that are granted. None: not stated, so each counts as granted."""
    operations: OperationsBinding | None = None


def keys_bucket_of(namespace: str) -> str:
    """Return the bucket for the records that the instances of a service share."""
    return f"JOBS_KEYS_{namespace}"


def merge_bindings(bindings: Iterable[Binding]) -> Binding:
    """Join what the surfaces of one service use."""
    jobs: JobsBinding | None = None
    kv: dict[str, BucketBinding] = {}
    store: dict[str, StoreBinding] = {}
    event_consumers: dict[str, GroupBinding] = {}
    operations: OperationsBinding | None = None
    for binding in bindings:
        if jobs is None:
            jobs = binding.jobs
        elif binding.jobs is not None:
            jobs = jobs.model_copy(update={"queues": {**jobs.queues, **binding.jobs.queues}})
        kv |= binding.kv
        store |= binding.store
        event_consumers |= binding.event_consumers
        operations = operations or binding.operations
    return Binding(jobs=jobs, kv=kv, store=store, event_consumers=event_consumers, operations=operations)


def parse_binding(text: str | bytes) -> Binding:
    """Read the `resources` of a binding as a control plane passes them.

    Raises:
        ConfigurationError: it is not a valid binding; the message has every problem.
    """
    try:
        return Binding.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{place}: {message}" for place, message in list_issues(error))
        raise ConfigurationError(f"the binding is not valid: {problems}") from None
