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

__all__ = ["find_remarks"]


def find_remarks(manifest: Manifest) -> Iterator[Problem]:
    """Yield a warning for each schema that nothing uses, and for each queue whose payload or result can't exist."""
    schemas = manifest.schemas or {}
    exported = (manifest.exports.schemas if manifest.exports else None) or []
    used = {name for _, name in find_schema_names(manifest, ())} | {*exported}
    for name in schemas:
        if name not in used:
            hint = 'remove it, or list it under "exports"'
            yield _remark(
                Rule.UNUSED_SCHEMA, ("schemas", name), "no part of the contract uses this schema", hint
            )
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


def _is_empty(schema: JsonValue) -> bool:
    """Return whether no value can match, as far as that is obvious."""
    try:
        return normalize(dereference(schema, schema, keep=find_recursive_references(schema))) is False
    except ProblemsFound:
        return False


def _remark(rule: Rule, pointer: Pointer, what: str, hint: str | None = None) -> Problem:
    return Problem(pointer=pointer, rule=rule, what=what, hint=hint, on_key=True, severity=Severity.WARNING)
