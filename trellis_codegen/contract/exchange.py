"""The sections that concern other participants: RPCs, operations, events, feeds, and the use of other contracts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trellis_codegen.contract.parts import Count, Docs, Part, Pointer, SchemaRef, Text, Version

__all__ = ["ErrorDeclaration", "ErrorRef", "Event", "Feed", "Operation", "Rpc", "Signal", "Use", "Uses"]


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


class CallCapabilities(Part):
    """The capabilities that a caller must hold."""

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
    """The capabilities that callers, observers and controllers of an operation must hold."""

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
    """A message that a caller may send to a running operation."""

    input: SchemaRef
    docs: Docs | None = None


class Operation(Part):
    """A long-running call that reports progress and can be followed."""

    version: Version
    subject: Text
    input: SchemaRef
    output: SchemaRef
    progress: SchemaRef | None = None
    transfer: SendTransfer | None = None
    capabilities: OperationCapabilities | None = None
    errors: list[ErrorRef] | None = None
    signals: dict[Text, Signal] | None = None
    cancel: bool | None = None
    docs: Docs | None = None


class EventCapabilities(Part):
    """The capabilities that publishers and subscribers must hold."""

    publish: list[str] | None = None
    subscribe: list[str] | None = None


class Event(Part):
    """An event that the participant publishes."""

    version: Version
    subject: Text
    event: SchemaRef
    params: list[Pointer] | None = None
    capabilities: EventCapabilities | None = None
    docs: Docs | None = None


class SubscribeCapabilities(Part):
    """The capabilities that subscribers must hold."""

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
    """An error that RPCs and operations may answer with, and the fields it carries."""

    error_type: Text = Field(alias="type")
    schema_ref: SchemaRef | None = Field(default=None, alias="schema")
