"""The sections that concern other participants: RPCs, operations, events, feeds, and the use of other contracts."""

from __future__ import annotations

from typing import Literal

from trellis_codegen.contract.parts import (
    NO_DOCS,
    Count,
    Docs,
    Part,
    Pointer,
    SchemaRef,
    Text,
    Version,
    member,
)

__all__ = ["ErrorDeclaration", "ErrorRef", "Event", "Feed", "Operation", "Rpc", "Signal", "Use", "Uses"]

_VERSION = "The version of the surface. The subject has it too."
_PLATFORM = "nothing: the platform grants and checks it"
_CHECKED = "`{}`: checked where `Options.callers` is given"
_ANY = "no capability is needed"


class CallSelection(Part):
    """Names that this contract calls."""

    call: list[str] | None = member(
        "The RPCs or operations that are called.",
        default=[],
        example=["Customers.Get"],
        python="a method each: `service.uses.customers.rpc.customers.get(…)`",
    )


class EventSelection(Part):
    """Events of another contract that this one publishes or subscribes to."""

    publish: list[str] | None = member(
        "The events that are published.",
        default=[],
        example=["Customers.Seen"],
        python="`service.uses.customers.events.customers.seen.publish(…)`",
    )
    subscribe: list[str] | None = member(
        "The events that are received.",
        default=[],
        example=["Customers.Moved"],
        python="`service.uses.customers.events.customers.moved.subscribe()`",
    )


class FeedSelection(Part):
    """Feeds of another contract that this one subscribes to."""

    subscribe: list[str] | None = member(
        "The feeds that are opened.",
        default=[],
        example=["Customers.Live"],
        python="`service.uses.customers.feeds.customers.live(…)`",
    )


class Use(Part):
    """What this contract uses of another one. Nothing else of it is generated."""

    contract: Text = member("The id of the other contract.", example="customers@v1")
    rpc: CallSelection | None = member("The RPCs that are called.", default={})
    operations: CallSelection | None = member("The operations that are started.", default={})
    events: EventSelection | None = member("The events that are published or received.", default={})
    feeds: FeedSelection | None = member("The feeds that are opened.", default={})


class Uses(Part):
    """The other contracts that this one uses, by an alias that is local to this contract."""

    required: dict[Text, Use] | None = member(
        "The contracts that it does not work without.",
        default={},
        example="customers",
        python="`service.uses.customers`, package `uses/customers`",
    )
    optional: dict[Text, Use] | None = member(
        "The contracts that may be absent.",
        default={},
        example="mail",
        python="`service.uses.mail`, None where it is absent",
    )


class CallCapabilities(Part):
    """The capabilities that a caller must hold."""

    call: list[str] | None = member(
        "Of this contract, `admin`, `service`, or with `::` of another one.",
        absent=_ANY,
        example=["orders-service::orders.read"],
        python=_CHECKED.format("RpcSpec.capabilities"),
    )


class ErrorRef(Part):
    """The type of an error that a call may answer with."""

    error_type: Text = member(
        "The `type` of an entry of `errors`, or a built-in error such as `ValidationError`.",
        alias="type",
        example="OrderMissing",
        python="the class of the error in the spec of the call",
    )


class ReceiveTransfer(Part):
    """The caller receives an object of a store instead of the output."""

    direction: Literal["receive"] = member("The object goes to the caller.", example="receive")


class Rpc(Part):
    """One request, one answer."""

    version: Version = member(_VERSION, example="v1")
    subject: Text = member(
        "Where requests are sent: `rpc.<version>.<name>`.",
        example="rpc.v1.Orders.Get",
        python="`RpcSpec.subject`",
    )
    input: SchemaRef = member(
        "The schema of the request.", example={"schema": "OrderQuery"}, python="the parameter of the handler"
    )
    output: SchemaRef = member(
        "The schema of the answer.", example={"schema": "Order"}, python="what the handler returns"
    )
    capabilities: CallCapabilities | None = member("What a caller must hold.", absent=_ANY)
    errors: list[ErrorRef] | None = member(
        "The errors that it may answer with.",
        default=[],
        example=[{"type": "OrderMissing"}, {"type": "ValidationError"}],
        python="exceptions: the handler raises them, the caller catches them",
    )
    transfer: ReceiveTransfer | None = member(
        "The answer is an object of a store, which the caller downloads.", absent="it answers with `output`"
    )
    internal: bool | None = member(
        "Whether only processes of this service call it.",
        default=False,
        example=False,
        python="true: it is served, and clients have no method for it",
    )
    docs: Docs | None = member("For the docstring.", absent=NO_DOCS)


class OperationCapabilities(Part):
    """The capabilities that callers, observers and controllers of an operation must hold."""

    call: list[str] | None = member(
        "To start one.",
        absent=_ANY,
        example=["orders-service::orders.read"],
        python=_CHECKED.format("OperationCapabilities.call"),
    )
    observe: list[str] | None = member(
        "To look at one and to watch it.",
        absent="as `call`",
        example=["orders-service::orders.read"],
        python=_CHECKED.format("OperationCapabilities.observe"),
    )
    cancel: list[str] | None = member(
        "To cancel one.",
        absent=_ANY,
        example=["orders-service::orders.read"],
        python=_CHECKED.format("OperationCapabilities.cancel"),
    )
    control: list[str] | None = member(
        "To send signals to one.",
        absent=_ANY,
        example=["orders-service::orders.read"],
        python=_CHECKED.format("OperationCapabilities.control"),
    )


class SendTransfer(Part):
    """The caller uploads an object into a store of the service. Pointers lead into the input."""

    direction: Literal["send"] = member("The object comes from the caller.", example="send")
    store: Text = member(
        "The entry of `resources.store` that gets the object.",
        example="receipts",
        python="`UploadSpec.store`",
    )
    key: Pointer = member(
        "Where the object's key is in the input; a required string.",
        example="/orderId",
        python="`UploadSpec.key`",
    )
    content_type: Pointer | None = member(
        "Where its media type is in the input; a string.",
        absent="it has none",
        example="/contentType",
        python="`UploadSpec.content_type`",
    )
    metadata: Pointer | None = member(
        "Where the texts are that are stored with it; an object.",
        absent="there are none",
        example="/labels",
        python="`UploadSpec.metadata`",
    )
    expires_in_ms: Count | None = member(
        "How long the caller may take for each chunk.",
        default=60_000,
        example=600_000,
        python="`UploadSpec.expires_in`, a timedelta",
    )
    max_bytes: Count | None = member(
        "How large the object may be.",
        absent="as large as the store permits",
        example=1_048_576,
        python="`UploadSpec.max_bytes`",
    )


class Signal(Part):
    """A message that a caller may send to a running operation."""

    input: SchemaRef = member(
        "The schema of the message.", example={"schema": "OrderQuery"}, python="`signal.input`"
    )
    docs: Docs | None = member("For the docstring.", absent=NO_DOCS)


class Operation(Part):
    """A call that takes long: it reports progress, can be followed and cancelled, and survives restarts."""

    version: Version = member(_VERSION, example="v1")
    subject: Text = member(
        "Where it is started: `operations.<version>.<name>`. It is controlled at the same subject with `.control`.",
        example="operations.v1.Orders.Process",
        python="`OperationSpec.subject`",
    )
    input: SchemaRef = member(
        "The schema of the request that starts it.",
        example={"schema": "OrderUpload"},
        python="`operation.input`",
    )
    output: SchemaRef = member(
        "The schema of its result.", example={"schema": "Order"}, python="what the handler returns"
    )
    progress: SchemaRef | None = member(
        "The schema of its progress.",
        absent="it reports none",
        example={"schema": "OrderProgress"},
        python="the parameter of `operation.progress(…)`",
    )
    transfer: SendTransfer | None = member(
        "What the caller uploads.", absent="the caller uploads nothing", python="`await operation.upload`"
    )
    capabilities: OperationCapabilities | None = member(
        "What callers, observers and controllers must hold.", absent=_ANY
    )
    errors: list[ErrorRef] | None = member(
        "The errors that it may end with.",
        absent="any error that the contract declares",
        example=[{"type": "OrderMissing"}],
        python="exceptions: the handler raises them, the caller catches them",
    )
    signals: dict[Text, Signal] | None = member(
        "What callers may send to it while it runs.",
        default={},
        example="skip",
        python="a class each, and a method: `run.signal.skip(…)`",
    )
    cancel: bool | None = member(
        "Whether callers may cancel it.", default=False, example=True, python="`OperationSpec.cancel`"
    )
    docs: Docs | None = member("For the docstring.", absent=NO_DOCS)


class EventCapabilities(Part):
    """The capabilities that publishers and subscribers must hold."""

    publish: list[str] | None = member("To publish it.", absent=_ANY, example=["service"], python=_PLATFORM)
    subscribe: list[str] | None = member(
        "To receive it.", absent=_ANY, example=["orders-service::orders.read"], python=_PLATFORM
    )


class Event(Part):
    """Something that has happened. It is stored, and any number of others receive it."""

    version: Version = member(_VERSION, example="v1")
    subject: Text = member(
        "Where it is published: `events.<version>.<name>`, then a `{/pointer}` for each of `params`.",
        example="events.v1.Orders.Shipped.{/customerId}",
        python="`EventSpec.subject`",
    )
    event: SchemaRef = member(
        "The schema of the event.", example={"schema": "OrderShipped"}, python="the parameter of `publish`"
    )
    params: list[Pointer] | None = member(
        "The parameters of the subject, in its order: required strings or numbers of the event.",
        absent="the subject has no parameters",
        example=["/customerId"],
        python="`EventSpec.params`",
    )
    capabilities: EventCapabilities | None = member("What publishers and subscribers must hold.", absent=_ANY)
    docs: Docs | None = member("For the docstring.", absent=NO_DOCS)


class SubscribeCapabilities(Part):
    """The capabilities that subscribers must hold."""

    subscribe: list[str] | None = member(
        "To open it.",
        absent=_ANY,
        example=["orders-service::orders.read"],
        python=_CHECKED.format("FeedSpec.capabilities"),
    )


class Feed(Part):
    """A live stream of events that a caller opens. It is not stored."""

    version: Version = member(_VERSION, example="v1")
    subject: Text = member(
        "Where it is opened: `feeds.<version>.<name>`.",
        example="feeds.v1.Orders.Live",
        python="`FeedSpec.subject`",
    )
    input: SchemaRef = member(
        "The schema of the request that opens it.",
        example={"schema": "OrderQuery"},
        python="the parameter of the handler",
    )
    event: SchemaRef = member(
        "The schema of its events.", example={"schema": "Order"}, python="what the handler yields"
    )
    capabilities: SubscribeCapabilities | None = member("What a subscriber must hold.", absent=_ANY)
    docs: Docs | None = member("For the docstring.", absent=NO_DOCS)


class ErrorDeclaration(Part):
    """An error that RPCs, operations and feeds may answer with, and the data that it carries."""

    error_type: Text = member(
        "Its name on the wire.",
        alias="type",
        example="OrderMissing",
        python="the name of an exception class: `errors.OrderMissing`",
    )
    schema_ref: SchemaRef | None = member(
        "The schema of its data.",
        alias="schema",
        absent="it has a message alone",
        example={"schema": "OrderQuery"},
        python="attributes of the error",
    )
