"""`trellis.contract.v1`, as written on the wire.

Every class is one object of the format. Absent members stay unset, so that a document can be written back as it was.
Members that the format does not have are refused here; the reader decides whether that is an error.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from trellis_codegen.contract.exchange import ErrorDeclaration, Event, Feed, Operation, Rpc, Uses
from trellis_codegen.contract.parts import Count, Docs, Natural, Part, SchemaRef, Text

__all__ = [
    "EventConsumer",
    "Job",
    "KeyConcurrency",
    "KeyQueue",
    "KvResource",
    "Manifest",
    "State",
    "StoreResource",
]


class Capability(Part):
    """A right that callers may hold."""

    display_name: Text
    description: Text
    consequence: Text | None = None


class Exports(Part):
    """What other contracts may refer to."""

    schemas: list[Text] | None = None


class State(Part):
    """A state store of the caller's session."""

    kind: Literal["value", "map"]
    schema_ref: SchemaRef = Field(alias="schema")
    state_version: Text | None = None
    accepted_versions: dict[Text, SchemaRef] | None = None
    docs: Docs | None = None


class KeyConcurrency(Part):
    """How many jobs of one key may run at a time."""

    key: list[Text] = Field(min_length=1)
    max_active: Count | None = None
    heartbeat_interval_ms: Count | None = None
    heartbeat_ttl_ms: Count | None = None
    stale_policy: Literal["fail-stale", "block"] | None = None


class KeyQueue(Part):
    """How many jobs of one key may wait, and what happens to further jobs."""

    max_queued_per_key: Natural | None = None
    when_full: Literal["reject", "coalesce", "replace-oldest"] | None = None


class Job(Part):
    """A queue of background jobs."""

    payload: SchemaRef
    result: SchemaRef | None = None
    update: SchemaRef | None = None
    max_deliver: Count | None = None
    backoff_ms: list[Natural] | None = None
    ack_wait_ms: Count | None = None
    default_deadline_ms: Count | None = None
    progress: bool | None = None
    logs: bool | None = None
    dlq: bool | None = None
    concurrency: Count | None = None
    key_concurrency: KeyConcurrency | None = None
    queue: KeyQueue | None = None
    docs: Docs | None = None


class EventConsumer(Part):
    """A durable group of event consumers."""

    uses: dict[Text, Annotated[list[Text], Field(min_length=1)]] | None = None
    self_events: list[Text] | None = Field(default=None, alias="self", min_length=1)
    replay: Literal["new", "all"] | None = None
    ordering: Literal["strict"] | None = None
    concurrency: Count | None = None
    ack_wait_ms: Count | None = None
    max_deliver: Count | None = None
    backoff_ms: list[Natural] | None = None
    docs: Docs | None = None


class KvResource(Part):
    """A key-value bucket; without a schema its values are any JSON."""

    purpose: Text
    schema_ref: SchemaRef | None = Field(default=None, alias="schema")
    required: bool | None = None
    history: Count | None = None
    ttl_ms: Natural | None = None
    max_value_bytes: Count | None = None
    docs: Docs | None = None


class StoreResource(Part):
    """An object store."""

    purpose: Text
    required: bool | None = None
    ttl_ms: Natural | None = None
    max_object_bytes: Count | None = None
    max_total_bytes: Count | None = None
    docs: Docs | None = None


class Resources(Part):
    """What the platform provides to the participant."""

    kv: dict[Text, KvResource] | None = None
    store: dict[Text, StoreResource] | None = None


class Manifest(Part):
    """A whole contract."""

    json_schema: Text | None = Field(default=None, alias="$schema")
    """For editors; not part of the contract."""
    format: Literal["trellis.contract.v1"]
    id: Text
    display_name: Text
    description: Text
    kind: Literal["service", "app", "device", "agent"]
    docs: Docs | None = None
    capabilities: dict[Text, Capability] | None = None
    schemas: dict[Text, JsonValue] | None = None
    exports: Exports | None = None
    uses: Uses | None = None
    state: dict[Text, State] | None = None
    rpc: dict[Text, Rpc] | None = None
    operations: dict[Text, Operation] | None = None
    events: dict[Text, Event] | None = None
    feeds: dict[Text, Feed] | None = None
    errors: dict[Text, ErrorDeclaration] | None = None
    jobs: dict[Text, Job] | None = None
    event_consumers: dict[Text, EventConsumer] | None = None
    resources: Resources | None = None
