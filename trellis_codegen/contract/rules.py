"""What a schema cannot say: that the names a contract refers to exist.

Each rule is a function from a manifest to problems; `check` runs them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias, cast

from pydantic import BaseModel

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.parts import SchemaRef
from trellis_codegen.problems import Pointer, Problem, did_you_mean

__all__ = ["BUILT_IN_ERRORS", "check"]

BUILT_IN_ERRORS = frozenset(
    [
        "AuthError",
        "KVError",
        "OperationAlreadyTerminalError",
        "OperationMismatchError",
        "OperationNotFoundError",
        "StoreError",
        "TransferError",
        "TransportError",
        "UnexpectedError",
        "ValidationError",
    ]
)
"""Errors that every runtime understands; a contract may list them without declaring them."""

Rule: TypeAlias = Callable[[Manifest], Iterator[Problem]]


def check(manifest: Manifest) -> list[Problem]:
    """Return what all rules find."""
    return [problem for rule in _RULES for problem in rule(manifest)]


def _schemas_exist(manifest: Manifest) -> Iterator[Problem]:
    known = manifest.schemas or {}
    for pointer, name in _schema_names(manifest, ()):
        if name not in known:
            yield Problem(pointer=pointer, what=f'no schema named "{name}"', hint=did_you_mean(name, known))


def _exports_exist(manifest: Manifest) -> Iterator[Problem]:
    known = manifest.schemas or {}
    exported = manifest.exports.schemas if manifest.exports else None
    for index, name in enumerate(exported or []):
        if name not in known:
            pointer = ("exports", "schemas", index)
            yield Problem(pointer=pointer, what=f'no schema named "{name}"', hint=did_you_mean(name, known))


def _errors_exist(manifest: Manifest) -> Iterator[Problem]:
    known = BUILT_IN_ERRORS | {each.error_type for each in (manifest.errors or {}).values()}
    for name, rpc in (manifest.rpc or {}).items():
        for index, error in enumerate(rpc.errors or []):
            if error.error_type not in known:
                pointer = ("rpc", name, "errors", index, "type")
                what = f'no error of type "{error.error_type}"'
                yield Problem(pointer=pointer, what=what, hint=did_you_mean(error.error_type, known))


def _queues_have_keys(manifest: Manifest) -> Iterator[Problem]:
    for name, job in (manifest.jobs or {}).items():
        if job.queue is not None and job.key_concurrency is None:
            yield Problem(pointer=("jobs", name, "queue"), what='"queue" needs "keyConcurrency"', on_key=True)


def _schema_names(value: object, pointer: Pointer) -> Iterator[tuple[Pointer, str]]:
    """Yield every schema reference of the document with the place of its name."""
    if isinstance(value, SchemaRef):
        yield (*pointer, "schema"), value.schema_name
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            if name in value.model_fields_set and field.alias != "schemas":
                yield from _schema_names(getattr(value, name), (*pointer, str(field.alias)))
    elif isinstance(value, dict):
        for name, each in cast("dict[str, object]", value).items():
            yield from _schema_names(each, (*pointer, name))


_RULES: tuple[Rule, ...] = (_schemas_exist, _exports_exist, _errors_exist, _queues_have_keys)
