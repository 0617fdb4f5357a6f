"""`trellis.contract.v1`, as written on the wire.

Every class is one object of the format. Absent members stay unset, so that a document can be written back as it was.
Members that the format does not have are refused here; the reader decides whether that is an error.

The texts of the members are the reference: the JSON Schema for editors, `trellis-gen explain` and docs/reference/manifest.md.
"""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from trellis_codegen.contract.exchange import ErrorDeclaration, Event, Feed, Operation, Rpc, Uses
from trellis_codegen.contract.parts import Docs, Part, Text, member
from trellis_codegen.contract.queues import EventConsumer, Job
from trellis_codegen.contract.resources import Resources, State

__all__ = ["Manifest"]


def _write_record(**members: JsonValue) -> JsonValue:
    return {"type": "object", "properties": members, "required": [*members]}


_TEXT: JsonValue = {"type": "string"}
_SCHEMAS: JsonValue = {
    "Order": _write_record(orderId=_TEXT, customerId=_TEXT),
    "OrderQuery": _write_record(orderId=_TEXT),
    "OrderUpload": _write_record(
        orderId=_TEXT, contentType=_TEXT, labels={"type": "object", "additionalProperties": _TEXT}
    ),
    "OrderProgress": _write_record(percent={"type": "integer"}),
    "OrderShipped": _write_record(orderId=_TEXT, customerId=_TEXT),
    "ReserveInventoryPayload": _write_record(orderId=_TEXT, origin=_TEXT),
    "ReserveInventoryResult": _write_record(reserved={"type": "boolean"}),
    "ReserveInventoryUpdate": _write_record(percent={"type": "integer"}),
    "Preferences": _write_record(theme=_TEXT, size={"type": "integer"}),
}
"""The schemas that the examples of the other members refer to."""


class Capability(Part):
    """A right that callers may hold. A control plane grants it, or the file of callers of a service."""

    display_name: Text = member("What people see.", example="Read orders")
    description: Text = member(
        "What a holder may do.", example="Look up stored orders and follow their live changes."
    )
    consequence: Text | None = member(
        "What can go wrong if the wrong one holds it.",
        absent="nothing is said",
        example="Holders see every customer's orders.",
    )


class Exports(Part):
    """What other contracts may refer to."""

    schemas: list[Text] | None = member(
        "Names of entries of `schemas`. A schema that nothing else uses is listed here.",
        default=[],
        example=["Order"],
        python="nothing: every schema becomes a model",
    )


class Manifest(Part):
    """A whole contract."""

    json_schema: Text | None = member(
        "The file of `trellis-gen schema`, for editors. It is not a part of the contract.",
        absent="editors have no schema",
        alias="$schema",
        example="trellis.schema.json",
    )
    format: Literal["trellis.contract.v1"] = member("The format of this file.", example="trellis.contract.v1")
    id: Text = member(
        "A name and a version. The version is raised by a change that breaks every caller.",
        example="orders-service@v1",
        python="the name of the package: `orders_participant`",
    )
    display_name: Text = member("What people see.", example="Orders", python="in docstrings")
    description: Text = member(
        "What the participant does, in a sentence.",
        example="Takes orders and ships them.",
        python="the docstring of the package, without `docs`",
    )
    kind: Literal["service", "app", "device", "agent"] = member(
        "What the participant is. Only a service has RPCs, operations, events, feeds, jobs, event consumers and resources.",
        example="service",
        python="a service: `OrdersService` and `OrdersClient`; the others: a client",
    )
    docs: Docs | None = member(
        "For the docstring of the package and for catalogues.", absent="the docstring has `description`"
    )
    capabilities: dict[Text, Capability] | None = member(
        "The rights that callers may hold, by name.",
        default={},
        example="orders-service::orders.read",
        python="nothing: the platform, or the file of keys, grants them",
    )
    schemas: dict[Text, JsonValue] | None = member(
        "JSON Schemas by name. The other sections refer to them.",
        default={},
        example=_SCHEMAS,
        python="a pydantic model, an enumeration or an alias each",
    )
    exports: Exports | None = member("What other contracts may refer to.", default={})
    uses: Uses | None = member("What this contract uses of others.", default={})
    state: dict[Text, State] | None = member(
        "State stores by name, of an app, a device or an agent.",
        default={},
        example="preferences",
        python="`client.state.preferences`",
    )
    rpc: dict[Text, Rpc] | None = member(
        "RPCs by name.",
        default={},
        example="Orders.Get",
        python="`service.rpc.orders.get.handle`, `client.rpc.orders.get(…)`",
    )
    operations: dict[Text, Operation] | None = member(
        "Operations by name.",
        default={},
        example="Orders.Process",
        python="`service.operations.orders.process.handle`, `client.operations.orders.process.start(…)`",
    )
    events: dict[Text, Event] | None = member(
        "Events by name.",
        default={},
        example="Orders.Shipped",
        python="`service.events.orders.shipped.publish(…)`, `client.events.orders.shipped.subscribe()`",
    )
    feeds: dict[Text, Feed] | None = member(
        "Feeds by name.",
        default={},
        example="Orders.Live",
        python="`service.feeds.orders.live.handle`, `client.feeds.orders.live(…)`",
    )
    errors: dict[Text, ErrorDeclaration] | None = member(
        "Errors by name, which calls may answer with.",
        default={},
        example="OrderMissing",
        python="an exception class each",
    )
    jobs: dict[Text, Job] | None = member(
        "Job queues by name: at most 64 letters, digits, dashes and underscores.",
        default={},
        example="reserve-inventory",
        python="`service.jobs.reserve_inventory`, classes `ReserveInventoryQueue` and `ReserveInventoryJob`",
    )
    event_consumers: dict[Text, EventConsumer] | None = member(
        "Event consumer groups by name.",
        default={},
        example="audit",
        python="`service.consumers.audit`, which needs a handler for each of its events",
    )
    resources: Resources | None = member("Buckets and stores.", default={})
