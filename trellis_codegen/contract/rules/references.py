"""The rules of references: schemas, errors and stores that are named are declared."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import cast

from pydantic import BaseModel

from trellis_codegen.contract.exchange import Operation, Rpc
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.parts import SchemaRef
from trellis_codegen.problems import Pointer, Problem, did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = [
    "BUILT_IN_ERRORS",
    "check_errors",
    "check_exports",
    "check_schemas",
    "check_stores",
    "find_schema_names",
]

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
"""Built-in errors of every runtime; a contract may list them without declaring them."""


def check_schemas(manifest: Manifest) -> Iterator[Problem]:
    """Every `{"schema": …}` names an entry of `schemas`."""
    known = manifest.schemas or {}
    for pointer, name in find_schema_names(manifest, ()):
        if name not in known:
            yield _make_problem(Rule.UNKNOWN_SCHEMA, pointer, "schema named", name, known)


def check_exports(manifest: Manifest) -> Iterator[Problem]:
    """Every exported name is an entry of `schemas`, and is exported once."""
    known = manifest.schemas or {}
    exported = (manifest.exports.schemas if manifest.exports else None) or []
    seen: set[str] = set()
    for index, name in enumerate(exported):
        pointer = ("exports", "schemas", index)
        if name not in known:
            yield _make_problem(Rule.UNKNOWN_SCHEMA, pointer, "schema named", name, known)
        elif name in seen:
            yield Problem(pointer=pointer, rule=Rule.EXPORTED_TWICE, what=f'"{name}" is exported twice')
        seen.add(name)


def check_errors(manifest: Manifest) -> Iterator[Problem]:
    """Every error that an RPC or an operation lists is declared, or built in."""
    known = BUILT_IN_ERRORS | {error.error_type for error in (manifest.errors or {}).values()}
    calls: list[tuple[str, str, Rpc | Operation]] = [
        *(("rpc", name, rpc) for name, rpc in (manifest.rpc or {}).items()),
        *(("operations", name, operation) for name, operation in (manifest.operations or {}).items()),
    ]
    for section, name, call in calls:
        for index, error in enumerate(call.errors or []):
            if error.error_type not in known:
                pointer = (section, name, "errors", index, "type")
                problem = _make_problem(Rule.UNKNOWN_ERROR, pointer, "error of type", error.error_type, known)
                declare = f'declare it: "errors": {{"{error.error_type}": {{"type": "{error.error_type}"}}}}'
                yield problem if problem.hint else replace(problem, hint=declare)


def check_stores(manifest: Manifest) -> Iterator[Problem]:
    """Every upload goes to a store of the contract."""
    known = (manifest.resources.store if manifest.resources else None) or {}
    for name, operation in (manifest.operations or {}).items():
        if operation.transfer and operation.transfer.store not in known:
            pointer = ("operations", name, "transfer", "store")
            yield _make_problem(Rule.UNKNOWN_STORE, pointer, "store named", operation.transfer.store, known)


def _make_problem(rule: Rule, pointer: Pointer, kind: str, name: str, known: Collection[str]) -> Problem:
    return Problem(pointer=pointer, rule=rule, what=f'no {kind} "{name}"', hint=did_you_mean(name, known))


def find_schema_names(value: object, pointer: Pointer) -> Iterator[tuple[Pointer, str]]:
    """Yield every schema reference of the document with the place of its name."""
    if isinstance(value, SchemaRef):
        yield (*pointer, "schema"), value.schema_name
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            if name in value.model_fields_set and field.alias != "schemas":
                yield from find_schema_names(getattr(value, name), (*pointer, str(field.alias)))
    elif isinstance(value, dict):
        for name, each in cast("dict[str, object]", value).items():
            yield from find_schema_names(each, (*pointer, name))
