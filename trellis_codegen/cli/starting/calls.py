"""The call that a new client makes: the first RPC of the contract for which values are known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from trellis_codegen.breaking.proof.kinds import Kind, Object, Text, follow
from trellis_codegen.breaking.proof.models import read_model
from trellis_codegen.breaking.proof.sizes import NoValue, make_smallest
from trellis_codegen.breaking.proof.texts import takes_text
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.plan.package import PackagePlan
from trellis_codegen.schemas.models import ModelClass, ModelField

__all__ = ["SampleCall", "find_sample_call"]

_PLAIN_TYPES = frozenset(["Integer", "Number", "bool", "float", "str"])
"""The types of fields that take the JSON value as Python has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleCall:
    """One RPC, with a request and an answer."""

    name: str
    """As the contract writes it: `Orders.Create`."""
    path: str
    """Where it is in a client or a service, below `rpc`: `orders.create`."""
    input: str
    """The class of the request."""
    output: str
    """The class of the answer."""
    request: str
    """A request as Python text."""
    answer: str
    """An answer as Python text."""


def find_sample_call(plan: PackagePlan, manifest: Manifest) -> SampleCall | None:
    """Return a call of the first RPC that takes and returns objects; None if there is none."""
    schemas = manifest.schemas or {}
    for name, path in _list_paths(plan):
        rpc = (manifest.rpc or {})[name]
        if rpc.transfer:
            continue
        written: list[str] = []
        for reference in (rpc.input.schema_name, rpc.output.schema_name):
            value = _write_sample(plan.models.classes[reference], reference, schemas)
            written += [] if value is None else [value]
        if len(written) == 2:  # noqa: PLR2004 - the request and the answer
            return SampleCall(
                name=name,
                path=path,
                input=plan.models.type_name(rpc.input.schema_name),
                output=plan.models.type_name(rpc.output.schema_name),
                request=written[0],
                answer=written[1],
            )
    return None


def _list_paths(plan: PackagePlan) -> Iterator[tuple[str, str]]:
    calls = plan.rpc_calls
    for group in calls.groups:
        for member in group.members:
            yield member.name, f"{group.attribute}.{member.attribute}"
    for member in calls.direct:
        yield member.name, member.attribute


def _write_sample(model: ModelClass, schema_name: str, schemas: Mapping[str, JsonValue]) -> str | None:
    """Return a value of a class as Python text; None if the class is none, or no value is known."""
    root = follow(read_model(schema_name, schemas[schema_name], is_event=False).root)
    if model.alias_of is not None or not isinstance(root, Object):
        return None
    try:
        value = {
            name: _make_member(name, root.members[name]) for name in root.members if name in root.required
        }
    except NoValue:
        return None
    fields = {field.wire_name: field for field in model.fields}
    if all(_is_plain(fields[name], member) for name, member in value.items()):
        arguments = ", ".join(f"{fields[name].name}={member!r}" for name, member in value.items())
        return f"{model.name}({arguments})"
    return f"{model.name}.model_validate_json({json.dumps(value, ensure_ascii=False)!r})"


def _is_plain(field: ModelField, value: JsonValue) -> bool:
    """Return whether a field takes a JSON value as Python writes it."""
    return value == [] or field.plain_type in _PLAIN_TYPES or field.plain_type.startswith("Literal[")


def _make_member(name: str, kind: Kind) -> JsonValue:
    """Return a value of a member: its name if that is allowed, as it says more than an empty text."""
    followed = follow(kind)
    return name if isinstance(followed, Text) and takes_text(followed, name) else make_smallest(kind)
