"""RPCs, events, buckets and errors: the name and the types of each."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from dataclasses import dataclass

from trellis_codegen import naming
from trellis_codegen.contract.exchange import ErrorDeclaration, Event, Feed, Rpc
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.resources import KvResource
from trellis_codegen.plan.collisions import Claim
from trellis_codegen.plan.grouping import Member, Surface, group_names
from trellis_codegen.plan.imports import Import, find_imports
from trellis_codegen.plan.models import ModelsPlan
from trellis_codegen.plan.wording import (
    Argument,
    choose_text,
    describe,
    describe_capabilities,
    describe_duration,
    describe_errors,
    write_duration,
    write_tuple,
)
from trellis_codegen.schemas.models import ModelClass, ModelField

__all__ = [
    "BucketPlan",
    "ErrorPlan",
    "EventPlan",
    "FeedPlan",
    "RpcPlan",
    "claim_bucket_names",
    "claim_error_names",
    "list_declared",
    "plan_errors",
    "plan_events",
    "plan_feeds",
    "plan_kv",
    "plan_rpc",
]

# Members of every error on the wire; the runtime fills them in.
_COMMON_ERROR_FIELDS = frozenset(["context", "id", "message", "traceId", "type"])
# The attributes of the class and its bases, and the names that its body uses: a field with one of these names gets a trailing underscore.
_ERROR_NAMES = frozenset(
    [
        "add_note",
        "args",
        "context",
        "data_type",
        "error_type",
        "fields",
        "id",
        "message",
        "object",
        "property",
        "self",
        "super",
        "with_traceback",
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RpcPlan:
    """One RPC."""

    input: str
    output: str | None
    """None: it answers with an object of a store, which its caller downloads."""
    errors: tuple[str, ...]
    """The classes of the errors that the contract declares."""
    spec: tuple[Argument, ...]
    docstring: str
    is_internal: bool
    """Whether it is served, and not called by clients."""

    @property
    def kind(self) -> str:
        """What the runtime's classes for it begin with."""
        return "Download" if self.output is None else "Rpc"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventPlan:
    """One event."""

    event: str
    spec: tuple[Argument, ...]
    docstring: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedPlan:
    """One feed."""

    input: str
    event: str
    errors: tuple[str, ...]
    """The classes of all errors of the contract: a feed does not list its own."""
    spec: tuple[Argument, ...]
    docstring: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketPlan:
    """One bucket."""

    value: str
    """The type of its values."""
    has_schema: bool
    spec: tuple[Argument, ...]
    docstring: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorField:
    """One member of an error's data, in addition to its message."""

    name: str
    wire_name: str
    annotation: str
    default: str | None
    """Python text, as for a model's field."""
    docstring: str | None
    names: frozenset[str]
    """The names that the annotation uses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorPlan:
    """One error."""

    error_type: str
    class_name: str
    data: str | None
    message: str
    """Its message when it is raised without one."""
    docstring: str
    fields: tuple[ErrorField, ...]
    passed: tuple[str, ...]
    """How the fields are passed on, under the names that they have on the wire."""
    imports: tuple[Import, ...]
    """What its annotations and its data need."""


def plan_rpc(manifest: Manifest, models: ModelsPlan) -> Surface[RpcPlan]:
    """Plan the RPCs."""
    declared = {error.error_type for error in (manifest.errors or {}).values()}
    return group_names(
        (name, _rpc(name, rpc, models, declared)) for name, rpc in (manifest.rpc or {}).items()
    )


def _rpc(name: str, rpc: Rpc, models: ModelsPlan, declared: set[str]) -> RpcPlan:
    input_type = models.type_name(rpc.input.schema_name)
    output_type = None if rpc.transfer else models.type_name(rpc.output.schema_name)
    types = dict.fromkeys(error.error_type for error in rpc.errors or [] if error.error_type in declared)
    errors = tuple(map(naming.class_name, types))
    spec = [
        Argument(name="name", value=repr(name)),
        Argument(name="subject", value=repr(rpc.subject)),
        Argument(name="input", value=input_type),
    ]
    if output_type is not None:
        spec.append(Argument(name="output", value=output_type))
    if errors:
        spec.append(write_tuple("errors", errors))
    capabilities = rpc.capabilities.call if rpc.capabilities else None
    if capabilities:
        spec.append(write_tuple("capabilities", map(repr, capabilities)))
    return RpcPlan(
        input=input_type,
        output=output_type,
        is_internal=bool(rpc.internal),
        errors=errors,
        spec=tuple(spec),
        docstring=describe(
            rpc.docs, f"The `{name}` RPC.", describe_capabilities(capabilities), describe_errors(errors)
        ),
    )


def plan_events(manifest: Manifest, models: ModelsPlan) -> Surface[EventPlan]:
    """Plan the events."""
    return group_names((name, _event(name, event, models)) for name, event in (manifest.events or {}).items())


def _event(name: str, event: Event, models: ModelsPlan) -> EventPlan:
    event_type = models.type_name(event.event.schema_name)
    spec = [
        Argument(name="name", value=repr(name)),
        Argument(name="subject", value=repr(event.subject)),
        Argument(name="event", value=event_type),
    ]
    if event.params:
        spec.append(write_tuple("params", map(repr, event.params)))
    return EventPlan(
        event=event_type, spec=tuple(spec), docstring=choose_text(event.docs, f"The `{name}` event.")
    )


def plan_feeds(manifest: Manifest, models: ModelsPlan) -> Surface[FeedPlan]:
    """Plan the feeds."""
    errors = tuple(naming.class_name(error.error_type) for _, error in list_declared(manifest))
    return group_names(
        (name, _feed(name, feed, models, errors)) for name, feed in (manifest.feeds or {}).items()
    )


def _feed(name: str, feed: Feed, models: ModelsPlan, errors: tuple[str, ...]) -> FeedPlan:
    input_type, event_type = (
        models.type_name(feed.input.schema_name),
        models.type_name(feed.event.schema_name),
    )
    spec = [
        Argument(name="name", value=repr(name)),
        Argument(name="subject", value=repr(feed.subject)),
        Argument(name="input", value=input_type),
        Argument(name="event", value=event_type),
    ]
    if errors:
        spec.append(write_tuple("errors", errors))
    capabilities = feed.capabilities.subscribe if feed.capabilities else None
    if capabilities:
        spec.append(write_tuple("capabilities", map(repr, capabilities)))
    return FeedPlan(
        input=input_type,
        event=event_type,
        errors=errors,
        spec=tuple(spec),
        docstring=describe(feed.docs, f"The `{name}` feed.", describe_capabilities(capabilities)),
    )


def claim_bucket_names(manifest: Manifest) -> Iterator[Claim]:
    """Yield the Python names that the buckets need."""
    for name in manifest.resources.kv or {} if manifest.resources else {}:
        yield Claim(f"kv.{naming.attribute(name)}", ("resources", "kv", name))


def plan_kv(manifest: Manifest, models: ModelsPlan) -> tuple[Member[BucketPlan], ...]:
    """Plan the buckets, in the contract's order."""
    buckets = (manifest.resources.kv if manifest.resources else None) or {}
    return tuple(
        Member(
            name=name,
            attribute=naming.attribute(name),
            constant=naming.constant(name),
            plan=_bucket(name, bucket, models),
        )
        for name, bucket in buckets.items()
    )


def _bucket(name: str, bucket: KvResource, models: ModelsPlan) -> BucketPlan:
    value = models.type_name(bucket.schema_ref.schema_name) if bucket.schema_ref else "JsonValue"
    spec = [Argument(name="name", value=repr(name))]
    if bucket.schema_ref:
        spec.append(Argument(name="value", value=value))
    if bucket.required is not None:
        spec.append(Argument(name="required", value=str(bucket.required)))
    if bucket.history is not None:
        spec.append(Argument(name="history", value=str(bucket.history)))
    if bucket.ttl_ms:
        spec.append(write_duration("ttl", bucket.ttl_ms))
    if bucket.max_value_bytes is not None:
        spec.append(Argument(name="max_value_bytes", value=str(bucket.max_value_bytes)))
    return BucketPlan(
        value=value,
        has_schema=bucket.schema_ref is not None,
        spec=tuple(spec),
        docstring=describe(bucket.docs, bucket.purpose, *_bucket_numbers(bucket)),
    )


def _bucket_numbers(bucket: KvResource) -> Iterator[str]:
    if (bucket.history or 1) > 1:
        yield f"The newest {bucket.history} revisions of a key are kept."
    if bucket.ttl_ms:
        yield f"A value expires {describe_duration(bucket.ttl_ms)} after it is written."
    if bucket.max_value_bytes is not None:
        yield f"A value has at most {bucket.max_value_bytes:,} bytes."


def claim_error_names(manifest: Manifest) -> Iterator[Claim]:
    """Yield the class names that the errors need."""
    for name, error in list_declared(manifest):
        yield Claim(naming.class_name(error.error_type), ("errors", name))


def plan_errors(manifest: Manifest, models: ModelsPlan) -> tuple[ErrorPlan, ...]:
    """Plan the errors, in the contract's order."""
    return tuple(_error(error, models) for _, error in list_declared(manifest))


def list_declared(manifest: Manifest) -> list[tuple[str, ErrorDeclaration]]:
    """Return the declared errors; of several with one type the first by name, as in the digest."""
    errors = manifest.errors or {}
    first: dict[str, str] = {}
    for name in sorted(errors):
        first.setdefault(errors[name].error_type, name)
    return [(name, error) for name, error in errors.items() if first[error.error_type] == name]


def _error(error: ErrorDeclaration, models: ModelsPlan) -> ErrorPlan:
    words = naming.snake(str(error.error_type)).removesuffix("_error").replace("_", " ")
    schema_name = error.schema_ref.schema_name if error.schema_ref else ""
    data = models.classes.get(schema_name)
    fields = data.fields if data else ()
    own = tuple(_error_field(field) for field in fields if field.wire_name not in _COMMON_ERROR_FIELDS)
    return ErrorPlan(
        error_type=error.error_type,
        class_name=naming.class_name(error.error_type),
        data=data.name if data else None,
        message=words or error.error_type,
        docstring=models.descriptions.get(schema_name) or f"The `{error.error_type}` error of the contract.",
        fields=own,
        passed=_passed(own),
        imports=tuple(_error_imports(schema_name, data, own, models)),
    )


def _error_imports(
    schema_name: str, data: ModelClass | None, fields: tuple[ErrorField, ...], models: ModelsPlan
) -> Iterator[Import]:
    names = {name for field in fields for name in field.names}
    yield from find_imports(names)
    if fields:
        yield from find_imports(["cast"])
    if data:
        yield from models.find_imports(schema_name, [data.name, *names])


def _passed(fields: tuple[ErrorField, ...]) -> tuple[str, ...]:
    """Pass names that Python could not write as keywords in a dictionary."""
    if all(field.wire_name.isidentifier() and not keyword.iskeyword(field.wire_name) for field in fields):
        return tuple(f"{field.wire_name}={field.name}" for field in fields)
    return (f"**{{{', '.join(f'{field.wire_name!r}: {field.name}' for field in fields)}}}",)


def _error_field(field: ModelField) -> ErrorField:
    return ErrorField(
        name=f"{field.name}_" if field.name in _ERROR_NAMES else field.name,
        wire_name=field.wire_name,
        annotation=field.plain_type,
        default=field.default,
        docstring=field.docstring,
        names=field.plain_names,
    )
