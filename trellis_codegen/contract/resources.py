"""The sections of what is stored: buckets and stores of a service, state of an app, a device or an agent."""

from __future__ import annotations

from typing import Literal

from trellis_codegen.contract.defaults import STATE_VERSION
from trellis_codegen.contract.parts import NO_DOCS, Count, Docs, Natural, Part, SchemaRef, Text, member

__all__ = ["KvResource", "Resources", "State", "StoreResource"]


class State(Part):
    """A state store of the caller's session. Only apps, devices and agents have state."""

    kind: Literal["value", "map"] = member(
        "One value, or values under keys.", example="value", python="`StateValue` or `StateMap`"
    )
    schema_ref: SchemaRef = member(
        "The schema of its values.", alias="schema", example={"schema": "Preferences"}, python="the type"
    )
    state_version: Text | None = member(
        "The version of that schema.", default=STATE_VERSION, example="v2", python="`StateSpec.version`"
    )
    accepted_versions: dict[Text, SchemaRef] | None = member(
        "The schemas of values that were written under older versions, by their version.",
        default={},
        example="v1",
        python="`OldStateEntry`, which reads them",
    )
    docs: Docs | None = member("For the docstring.", absent=NO_DOCS)


class KvResource(Part):
    """A key-value bucket. It is private to the service."""

    purpose: Text = member("What it is for.", example="Orders by id.", python="the docstring, without `docs`")
    schema_ref: SchemaRef | None = member(
        "The schema of its values.",
        absent="any JSON",
        alias="schema",
        example={"schema": "Order"},
        python="the type of `entry.value`",
    )
    required: bool | None = member(
        "Whether the service does not start without it.",
        default=True,
        example=True,
        python="`BucketSpec.required`",
    )
    history: Count | None = member(
        "How many revisions of a key are kept. NATS keeps at most 64.",
        default=1,
        example=5,
        python="`BucketSpec.history`",
    )
    ttl_ms: Natural | None = member(
        "How long a value is kept. 0: indefinitely.",
        default=0,
        example=31_536_000_000,
        python="`BucketSpec.ttl`, a timedelta",
    )
    max_value_bytes: Count | None = member(
        "How large a value may be.",
        absent="what the server permits",
        example=65_536,
        python="`BucketSpec.max_value_bytes`",
    )
    docs: Docs | None = member("For the docstring.", absent="the docstring has `purpose`")


class StoreResource(Part):
    """An object store. It is private to the service."""

    purpose: Text = member(
        "What it is for.", example="Receipts by order.", python="the docstring, without `docs`"
    )
    required: bool | None = member(
        "Whether the service does not start without it.",
        default=True,
        example=False,
        python="`StoreSpec.required`",
    )
    ttl_ms: Natural | None = member(
        "How long an object is kept. 0: indefinitely.",
        default=0,
        example=31_536_000_000,
        python="`StoreSpec.ttl`, a timedelta",
    )
    max_object_bytes: Count | None = member(
        "How large an object may be.",
        absent="no limit",
        example=10_485_760,
        python="`StoreSpec.max_object_bytes`",
    )
    max_total_bytes: Count | None = member(
        "How large all objects together may be.",
        absent="no limit",
        example=1_073_741_824,
        python="`StoreSpec.max_total_bytes`",
    )
    docs: Docs | None = member("For the docstring.", absent="the docstring has `purpose`")


class Resources(Part):
    """What the platform provides to the service."""

    kv: dict[Text, KvResource] | None = member(
        "Key-value buckets by name.", default={}, example="orders", python="`service.kv.orders`"
    )
    store: dict[Text, StoreResource] | None = member(
        "Object stores by name.", default={}, example="receipts", python="`service.stores.receipts`"
    )
