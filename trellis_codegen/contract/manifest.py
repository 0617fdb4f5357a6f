"""`trellis.contract.v1`, as written on the wire.

Every class is one object of the format. Absent members stay unset, so that a document can be written back as it was.
Members that the format does not have are refused here; the reader decides what becomes of them.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

__all__ = [
    "Capability", "Docs", "ErrorDeclaration", "Event", "EventConsumer", "Exports", "Feed", "Job", "KeyConcurrency",
    "KeyQueue", "KvResource", "Manifest", "Operation", "Resources", "Rpc", "SchemaRef", "State", "StoreResource", "Uses",
]  # fmt: skip

Text: TypeAlias = Annotated[str, Field(min_length=1)]
Version: TypeAlias = Annotated[str, Field(pattern=r"^v[0-9]+$")]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Milliseconds: TypeAlias = Annotated[int, Field(ge=0)]
Pointer: TypeAlias = Annotated[str, Field(pattern=r"^/")]


class Part(BaseModel):
    """An object of the format: camelCase on the wire, no coercion, frozen."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(alias=to_camel), extra="forbid", frozen=True, strict=True, validate_by_name=False,
    )


class SchemaRef(Part):
    """The name of an entry of `schemas`."""

    schema_name: str = Field(alias="schema", min_length=1)


class Docs(Part):
    """Words for people."""

    summary: Text | None = None
    markdown: Text


class Capability(Part):
    """A right that callers may hold."""

    display_name: Text
    description: Text
    consequence: Text | None = None


class Exports(Part):
    """What other contracts may refer to."""

    schemas: list[Text] | None = None


class CallSelection(Part):
    """Names that this contract calls."""

    call: list[str] | None = None


class EventSelection(Part):
    """Events of another contract that this one publishes or subscribes to."""

    publish: list[str] | None = None
    subscribe: list[str] | None = None


class FeedSelection(Part):
    """Feeds of another contract that this one subscribes to."""

    subscribe: list[str] | None = None


class Use(Part):
    """What this contract uses of another one."""

    contract: Text
    rpc: CallSelection | None = None
    operations: CallSelection | None = None
    events: EventSelection | None = None
    feeds: FeedSelection | None = None


class Uses(Part):
    """The other contracts that this one uses, by local alias."""

    required: dict[Text, Use] | None = None
    optional: dict[Text, Use] | None = None


class State(Part):
    """A state store of the caller's session."""

    kind: Literal["value", "map"]
    schema_ref: SchemaRef = Field(alias="schema")
    state_version: Text | None = None
    accepted_versions: dict[Text, SchemaRef] | None = None
    docs: Docs | None = None


class CallCapabilities(Part):
    """What a caller must hold."""

    call: list[str] | None = None


class ErrorRef(Part):
    """The type of an error that an RPC may answer with."""

    error_type: Text = Field(alias="type")


class ReceiveTransfer(Part):
    """The caller receives a file."""

    direction: Literal["receive"]


class Rpc(Part):
    """One request, one answer."""

    version: Version
    subject: Text
    input: SchemaRef
    output: SchemaRef
    capabilities: CallCapabilities | None = None
    errors: list[ErrorRef] | None = None
    transfer: ReceiveTransfer | None = None
    internal: bool | None = None
    docs: Docs | None = None


class OperationCapabilities(Part):
    """What callers, observers and controllers of an operation must hold."""

    call: list[str] | None = None
    observe: list[str] | None = None
    cancel: list[str] | None = None
    control: list[str] | None = None


class SendTransfer(Part):
    """The caller sends a file along."""

    direction: Literal["send"]
    store: Text
    key: Pointer
    content_type: Pointer | None = None
    metadata: Pointer | None = None
    expires_in_ms: Count | None = None
    max_bytes: Count | None = None


class Signal(Part):
    """What a caller may tell a running operation."""

    input: SchemaRef
    docs: Docs | None = None


class Operation(Part):
    """Something that takes a while, reports progress and can be followed."""

    version: Version
    subject: Text
    input: SchemaRef
    output: SchemaRef
    progress: SchemaRef | None = None
    transfer: SendTransfer | None = None
    capabilities: OperationCapabilities | None = None
    signals: dict[Text, Signal] | None = None
    cancel: bool | None = None
    docs: Docs | None = None


class EventCapabilities(Part):
    """What publishers and subscribers must hold."""

    publish: list[str] | None = None
    subscribe: list[str] | None = None


class Event(Part):
    """Something that happened."""

    version: Version
    subject: Text
    event: SchemaRef
    params: list[Pointer] | None = None
    capabilities: EventCapabilities | None = None
    docs: Docs | None = None


class SubscribeCapabilities(Part):
    """What subscribers must hold."""

    subscribe: list[str] | None = None


class Feed(Part):
    """A live stream that a caller opens."""

    version: Version
    subject: Text
    input: SchemaRef
    event: SchemaRef
    capabilities: SubscribeCapabilities | None = None
    docs: Docs | None = None


class ErrorDeclaration(Part):
    """An error that RPCs may answer with, and the fields it carries."""

    error_type: Text = Field(alias="type")
    schema_ref: SchemaRef | None = Field(default=None, alias="schema")


class KeyConcurrency(Part):
    """How many jobs of one key may run at a time."""

    key: list[Text] = Field(min_length=1)
    max_active: Count | None = None
    heartbeat_interval_ms: Count | None = None
    heartbeat_ttl_ms: Count | None = None
    stale_policy: Literal["fail-stale", "block"] | None = None


class KeyQueue(Part):
    """How many jobs of one key may wait, and what happens to one more."""

    max_queued_per_key: Milliseconds | None = None
    when_full: Literal["reject", "coalesce", "replace-oldest"] | None = None


class Job(Part):
    """A queue of background jobs."""

    payload: SchemaRef
    result: SchemaRef | None = None
    update: SchemaRef | None = None
    max_deliver: Count | None = None
    backoff_ms: list[Milliseconds] | None = None
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
    """A durable group that works events off."""

    uses: dict[Text, Annotated[list[Text], Field(min_length=1)]] | None = None
    self_events: list[Text] | None = Field(default=None, alias="self", min_length=1)
    replay: Literal["new", "all"] | None = None
    ordering: Literal["strict"] | None = None
    concurrency: Count | None = None
    ack_wait_ms: Count | None = None
    max_deliver: Count | None = None
    backoff_ms: list[Milliseconds] | None = None
    docs: Docs | None = None


class KvResource(Part):
    """A key-value bucket; without a schema its values are any JSON."""

    purpose: Text
    schema_ref: SchemaRef | None = Field(default=None, alias="schema")
    required: bool | None = None
    history: Count | None = None
    ttl_ms: Milliseconds | None = None
    max_value_bytes: Count | None = None
    docs: Docs | None = None


class StoreResource(Part):
    """An object store."""

    purpose: Text
    required: bool | None = None
    ttl_ms: Milliseconds | None = None
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

    def schema_named(self, ref: SchemaRef) -> JsonValue:
        """Return the JSON Schema that `ref` names; reading has made sure that it exists."""
        return (self.schemas or {})[ref.schema_name]
