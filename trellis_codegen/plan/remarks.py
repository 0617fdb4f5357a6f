"""What is odd about a contract and no fault of it: remarks of the command, not of the package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from trellis_codegen.contract.exchange import Operation, Rpc
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.rules.references import find_schema_names
from trellis_codegen.problems import Pointer, Problem, ProblemsFound, Severity
from trellis_codegen.rule_ids import Rule
from trellis_codegen.schemas.dereferencing import dereference, find_recursive_references
from trellis_codegen.schemas.normalizing import normalize
from trellis_codegen.schemas.schema_forms import find_properties, is_object

__all__ = ["find_remarks"]

_TEXT: Final[JsonValue] = {"type": "string"}
_COMMON: Final[dict[str, JsonValue]] = {
    "id": _TEXT,
    "message": _TEXT,
    "context": {"type": "object"},
    "traceId": _TEXT,
}
"""The members of every error, next to its type."""


def find_remarks(manifest: Manifest) -> Iterator[Problem]:
    """Yield a warning for each schema that nothing uses, each error that a call cannot answer with, or not with its data, and each queue whose payload or result can't exist."""
    schemas = manifest.schemas or {}
    exported = (manifest.exports.schemas if manifest.exports else None) or []
    used = {name for _, name in find_schema_names(manifest, ())} | {*exported}
    for name in schemas:
        if name not in used:
            hint = 'remove it, or list it under "exports"'
            yield _remark(
                Rule.UNUSED_SCHEMA, ("schemas", name), "no part of the contract uses this schema", hint
            )
    yield from _find_error_problems(manifest)
    yield from _find_unanswered_errors(manifest)
    for queue, job in (manifest.jobs or {}).items():
        if job.result and _is_empty(schemas.get(job.result.schema_name)):
            what = (
                f'no value matches the schema "{job.result.schema_name}", so no handler can return a result'
            )
            yield _remark(
                Rule.IMPOSSIBLE_JOB,
                ("jobs", queue, "result"),
                what,
                'leave out "result" if handlers return nothing',
            )
        if _is_empty(schemas.get(job.payload.schema_name)):
            what = f'no value matches the schema "{job.payload.schema_name}", so no job can be created'
            yield _remark(Rule.IMPOSSIBLE_JOB, ("jobs", queue, "payload"), what)


def _find_error_problems(manifest: Manifest) -> Iterator[Problem]:
    """Yield a warning for each error whose data has no members by name, and for each whose schema refuses what every error has."""
    for name, error in (manifest.errors or {}).items():
        if error.schema_ref is None:
            continue
        schema_name = error.schema_ref.schema_name
        place = ("errors", name, "schema")
        schema = _simplify((manifest.schemas or {}).get(schema_name))
        if not is_object(schema):  # members by name become the parameters of the class
            what = f'"{schema_name}" is not an object with "properties", so that handlers raise the error without data'
            yield _remark(Rule.WITHOUT_EFFECT, place, what, "declare the data as members of one object")
            continue
        common: dict[str, JsonValue] = {"type": {"const": error.error_type}, **_COMMON}
        for member, demand in common.items():
            declared = find_properties(schema).get(member, True)
            if _is_empty({"allOf": [declared, demand]}):
                what = f'"{schema_name}" refuses the "{member}" that every "{error.error_type}" has'
                hint = f'write "{member}": {json.dumps(demand)}'
                yield _remark(Rule.IMPOSSIBLE_ERROR, place, what, hint)


def _find_unanswered_errors(manifest: Manifest) -> Iterator[Problem]:
    """Feeds, and operations without a list, answer with any error; the others with those that they list."""
    operations = [*(manifest.operations or {}).values()]
    calls: list[Rpc | Operation] = [*(manifest.rpc or {}).values(), *operations]
    listed = {error.error_type for call in calls for error in call.errors or ()}
    if manifest.feeds or any(not operation.errors for operation in operations):
        return
    for name, error in (manifest.errors or {}).items():
        if not calls:
            what, hint = "the contract has no call that could answer with it", "remove it"
        elif error.error_type not in listed:
            what = "no call lists this error, so that callers get an UnexpectedError in its place"
            hint = f'add {{"type": {json.dumps(error.error_type)}}} to "errors" of the calls that raise it'
        else:
            continue
        yield _remark(Rule.WITHOUT_EFFECT, ("errors", name), what, hint)


def _is_empty(schema: JsonValue) -> bool:
    """Return whether no value can match, as far as that is obvious."""
    return _simplify(schema) is False


def _simplify(schema: JsonValue) -> JsonValue:
    """Return a schema in its simplest form; as it is, if it has errors."""
    try:
        return normalize(dereference(schema, schema, keep=find_recursive_references(schema)))
    except ProblemsFound:
        return schema


def _remark(rule: Rule, pointer: Pointer, what: str, hint: str | None = None) -> Problem:
    return Problem(pointer=pointer, rule=rule, what=what, hint=hint, on_key=True, severity=Severity.WARNING)
