"""The rules of references: schemas, errors and stores that are named are declared."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import cast

from pydantic import BaseModel

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.parts import SchemaRef
from trellis_codegen.problems import Pointer, Problem, did_you_mean

__all__ = ["BUILT_IN_ERRORS", "errors_exist", "exports_exist", "schemas_exist", "stores_exist"]

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
"""Errors that every runtime has; a contract may list them without declaring them."""


def schemas_exist(manifest: Manifest) -> Iterator[Problem]:
    """Every `{"schema": …}` names an entry of `schemas`."""
    known = manifest.schemas or {}
    for pointer, name in _schema_names(manifest, ()):
        if name not in known:
            yield _missing(pointer, "schema named", name, known)


def exports_exist(manifest: Manifest) -> Iterator[Problem]:
    """Every exported name is an entry of `schemas`, and is exported once."""
    known = manifest.schemas or {}
    exported = (manifest.exports.schemas if manifest.exports else None) or []
    seen: set[str] = set()
    for index, name in enumerate(exported):
        pointer = ("exports", "schemas", index)
        if name not in known:
            yield _missing(pointer, "schema named", name, known)
        elif name in seen:
            yield Problem(pointer=pointer, what=f'"{name}" is exported twice')
        seen.add(name)


def errors_exist(manifest: Manifest) -> Iterator[Problem]:
    """Every error that an RPC lists is declared, or built in."""
    known = BUILT_IN_ERRORS | {each.error_type for each in (manifest.errors or {}).values()}
    for name, rpc in (manifest.rpc or {}).items():
        for index, error in enumerate(rpc.errors or []):
            if error.error_type not in known:
                yield _missing(
                    ("rpc", name, "errors", index, "type"), "error of type", error.error_type, known
                )


def stores_exist(manifest: Manifest) -> Iterator[Problem]:
    """Every upload goes to a store of the contract."""
    known = (manifest.resources.store if manifest.resources else None) or {}
    for name, operation in (manifest.operations or {}).items():
        if operation.transfer and operation.transfer.store not in known:
            pointer = ("operations", name, "transfer", "store")
            yield _missing(pointer, "store named", operation.transfer.store, known)


def _missing(pointer: Pointer, kind: str, name: str, known: Collection[str]) -> Problem:
    return Problem(pointer=pointer, what=f'no {kind} "{name}"', hint=did_you_mean(name, known))


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
