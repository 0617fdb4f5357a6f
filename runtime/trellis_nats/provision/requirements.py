"""The resources that a surface needs on the server: plain data that is planned, created and verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.jetstream.kv import kv_stream, kv_subject
from trellis_nats._nats.jetstream.object_names import chunk_subject, meta_subject, object_stream
from trellis_nats.binding import GroupBinding, QueueBinding
from trellis_nats.clock import to_nanoseconds

__all__ = [
    "BucketRequirement",
    "ConsumerRequirement",
    "Requirement",
    "ServerFeature",
    "StoreRequirement",
    "StreamRequirement",
]

_UNLIMITED: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequirement:
    """A stream, and which differences of an existing one matter."""

    name: str
    config: Mapping[str, JsonValue]
    """Its configuration in the form of the JetStream API, without the name and the replicas."""
    compared: tuple[str, ...] = ("subjects", "retention", "storage")
    """The fields that an existing stream must have exactly so: correctness depends on them."""
    tolerated: tuple[str, ...] = ()
    """The fields that the contract states, and that an existing stream may have otherwise: another version of the contract
    may have created it. A difference is logged. An operator may choose what is neither compared nor tolerated."""
    sufficient_subjects: tuple[str, ...] = ()
    """An existing stream is accepted when it has one of these. Where empty, `compared` decides alone."""
    is_lossless: bool = False
    """Whether limits of messages or bytes are worth a remark: a full stream would drop what it accepted, or refuse more."""
    has_batches: bool = False
    """Whether to create it with atomic batches, where the server knows them (2.12)."""
    bucket: str | None = None
    """The KV bucket that it holds, if any."""
    store: str | None = None
    """The object store that it holds, if any."""
    since: tuple[int, int, int] = (0, 0, 0)
    """The first server version that it is required on."""
    is_optional: bool = False
    """Whether the surface can do without it. It is created where the account may; a problem is logged, and nothing is
    refused."""
    is_own: bool = False
    """Whether the service creates it even where a control plane provides the rest."""

    @property
    def title(self) -> str:
        """What texts call it."""
        if self.bucket is not None:
            return f'bucket "{self.bucket}"'
        return f'stream "{self.name}"' if self.store is None else f'store "{self.store}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerRequirement:
    """A durable pull consumer."""

    stream: str
    name: str
    config: Mapping[str, JsonValue]
    """Its configuration in the form of the JetStream API, without the durable name."""
    tolerated: tuple[str, ...] = ("ack_wait", "deliver_policy")
    """The fields that the contract states, and that an existing consumer may have otherwise, as for a stream."""
    as_platform: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """What the control plane of other runtimes sets from its binding: one that has it is usable as it is, and expected."""
    may_filter_more: bool = False
    """Whether the process that pulls can leave what it does not know to processes of another version."""
    since: tuple[int, int, int] = (0, 0, 0)
    """The first server version that it is required on."""
    is_optional: bool = False
    """Whether the surface can do without it: a problem is logged, and nothing is refused."""

    @property
    def title(self) -> str:
        """What texts call it."""
        return f'consumer "{self.name}" of stream "{self.stream}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRequirement:
    """A KV bucket."""

    bucket: str
    history: int = 1
    """How many values of a key are kept; at most 64."""
    ttl: timedelta = timedelta(0)
    """How long a value is kept; 0: indefinitely."""
    max_value_bytes: int | None = None
    """None: as large as the server accepts."""
    must_keep: bool = False
    """Whether correctness depends on how long values are kept. Else an existing bucket may have another TTL."""
    is_optional: bool = False
    """As `StreamRequirement.is_optional`."""
    is_own: bool = False
    """As `StreamRequirement.is_own`."""

    @property
    def stream(self) -> StreamRequirement:
        """The stream of the bucket, as NATS' own clients create it, so that they can use it too."""
        return StreamRequirement(
            name=kv_stream(self.bucket),
            config={
                "subjects": [kv_subject(self.bucket)],
                "retention": "limits",
                "storage": "file",
                "discard": "new",
                "max_msgs_per_subject": self.history,
                "max_age": to_nanoseconds(self.ttl),
                "max_msg_size": _UNLIMITED if self.max_value_bytes is None else self.max_value_bytes,
                "allow_rollup_hdrs": True,
                "deny_delete": True,
                "allow_direct": True,
            },
            compared=("subjects", "retention", "allow_direct", *(("max_age",) if self.must_keep else ())),
            tolerated=(
                "max_msgs_per_subject",
                *(() if self.must_keep else ("max_age",)),
                "max_msg_size",
            ),
            bucket=self.bucket,
            is_optional=self.is_optional,
            is_own=self.is_own,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequirement:
    """An object store."""

    store: str
    ttl: timedelta = timedelta(0)
    """How long an object is kept; 0: indefinitely."""
    max_total_bytes: int | None = None
    """None: as much as the account may store."""

    @property
    def stream(self) -> StreamRequirement:
        """The stream of the store, as NATS' own clients create it, so that they can use it too."""
        limit = self.max_total_bytes
        return StreamRequirement(
            name=object_stream(self.store),
            config={
                "subjects": [chunk_subject(self.store), meta_subject(self.store)],
                "retention": "limits",
                "storage": "file",
                "discard": "new",
                "max_age": to_nanoseconds(self.ttl),
                **({} if limit is None else {"max_bytes": limit}),
                "allow_rollup_hdrs": True,
                "allow_direct": True,
            },
            compared=("subjects", "retention", "discard", "allow_rollup_hdrs"),
            tolerated=("max_age", *(() if limit is None else ("max_bytes",))),
            store=self.store,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFeature:
    """A feature of newer servers that a surface can do without, at a price."""

    since: tuple[int, int, int]
    """The first server version that has it."""
    price: str
    """What happens without it, as a sentence for the log; it follows the server's version."""


Requirement = StreamRequirement | ConsumerRequirement | BucketRequirement | StoreRequirement | ServerFeature


def platform_settings(bound: QueueBinding | GroupBinding) -> dict[str, JsonValue]:
    """Return what a control plane gives the consumer of a binding; the first step of the backoff replaces its ack wait."""
    return {
        "backoff": [to_nanoseconds(step) for step in bound.backoff],
        "max_deliver": bound.max_deliver,
        "max_ack_pending": bound.concurrency,
    }
