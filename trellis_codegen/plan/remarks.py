"""What is odd about a contract and no fault of it: remarks of the command, not of the package."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.rules.references import find_schema_names
from trellis_codegen.problems import Pointer, Problem, ProblemsFound, Severity
from trellis_codegen.rule_ids import Rule
from trellis_codegen.schemas.dereferencing import dereference, find_recursive_references
from trellis_codegen.schemas.normalizing import normalize
from trellis_codegen.schemas.schema_forms import is_object

__all__ = ["find_remarks"]


def find_remarks(manifest: Manifest) -> Iterator[Problem]:
    """Yield a warning for each schema that nothing uses, each error without data, and each queue whose payload or result can't exist."""
    schemas = manifest.schemas or {}
    exported = (manifest.exports.schemas if manifest.exports else None) or []
    used = {name for _, name in find_schema_names(manifest, ())} | {*exported}
    for name in schemas:
        if name not in used:
            hint = 'remove it, or list it under "exports"'
            yield _remark(
                Rule.UNUSED_SCHEMA, ("schemas", name), "no part of the contract uses this schema", hint
            )
    yield from _find_errors_without_data(manifest)
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


def _find_errors_without_data(manifest: Manifest) -> Iterator[Problem]:
    """Yield a warning for each error whose data has no members by name: they become the parameters of its class."""
    for name, error in (manifest.errors or {}).items():
        schema_name = error.schema_ref.schema_name if error.schema_ref else None
        schema = _simplify((manifest.schemas or {}).get(schema_name)) if schema_name else None
        if schema_name and not is_object(schema):
            what = f'"{schema_name}" is not an object with "properties", so that handlers raise the error without data'
            hint = "declare the data as members of one object"
            yield _remark(Rule.WITHOUT_EFFECT, ("errors", name, "schema"), what, hint)


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
