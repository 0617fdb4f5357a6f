"""The rules of pointers into payloads: each finds a value, of a type that is valid in a subject or a file name."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.pointers import is_pointer, list_pointers, look_up, split_pointer
from trellis_codegen.problems import Pointer, Problem, Severity, did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = ["check_event_params", "check_transfers", "find_pointer_problem", "list_kinds"]

_TOKENS = frozenset(["string", "number", "integer"])


def check_event_params(manifest: Manifest) -> Iterator[Problem]:
    """Each parameter of an event's subject is a string or a number in every variant of its payload."""
    for name, event in (manifest.events or {}).items():
        schema = (manifest.schemas or {}).get(event.event.schema_name)
        for index, param in enumerate(event.params or []):
            place: Pointer = ("events", name, "params", index)
            problem = find_pointer_problem(param, schema, place, allowed=_TOKENS)
            if problem:
                yield problem


def check_transfers(manifest: Manifest) -> Iterator[Problem]:
    """Every value that an upload reads is in the input of its operation."""
    for name, operation in (manifest.operations or {}).items():
        transfer = operation.transfer
        schema = (manifest.schemas or {}).get(operation.input.schema_name)
        if transfer is None:
            continue
        for field, pointer, allowed in (
            ("key", transfer.key, frozenset(["string"])),
            ("contentType", transfer.content_type, frozenset(["string"])),
            ("metadata", transfer.metadata, frozenset(["object"])),
        ):
            place: Pointer = ("operations", name, "transfer", field)
            problem = pointer and find_pointer_problem(pointer, schema, place, allowed=allowed)
            if problem and (field == "key" or problem.severity is Severity.ERROR):
                yield problem


def find_pointer_problem(
    pointer: str, schema: JsonValue, place: Pointer, *, allowed: frozenset[str]
) -> Problem | None:
    """Return why a pointer does not find a value of an allowed type; None if it does.

    A missing schema is not a problem here: another rule reports it.
    """
    if not is_pointer(pointer):
        return Problem(
            pointer=place,
            rule=Rule.INVALID_POINTER,
            what=f'"{pointer}" is not a JSON pointer',
            hint="write ~ as ~0 and / as ~1",
        )
    if schema is None:
        return None
    found = look_up(schema, pointer)
    if found is None:
        what, hint = f'the schema has nothing at "{pointer}"', _suggest_pointer(pointer, schema, allowed)
        return Problem(pointer=place, rule=Rule.POINTER_TO_NOTHING, what=what, hint=hint)
    refused = found.kinds - allowed - {"null"}
    if not found.kinds & allowed or refused:
        what = f'"{pointer}" must be {list_kinds(allowed)}, and may be {list_kinds(refused or found.kinds)}'
        return Problem(pointer=place, rule=Rule.POINTER_OF_WRONG_TYPE, what=what)
    if "null" in found.kinds or not found.required:
        name = split_pointer(pointer)[-1]
        what, hint = (
            (f'"{pointer}" may be null, and a value with null there is refused', 'take "null" from its type')
            if "null" in found.kinds
            else (
                f'"{pointer}" may be absent, and a value without it is refused',
                f'list "{name}" under "required" of its object, which needs "type": "object"',
            )
        )
        return Problem(
            pointer=place, rule=Rule.OPTIONAL_POINTER, what=what, hint=hint, severity=Severity.WARNING
        )
    return None


def _suggest_pointer(pointer: str, schema: JsonValue, allowed: frozenset[str]) -> str | None:
    """Return the nearest pointer that leads to a value of an allowed type: one with the same end, or one that is written alike."""
    known = [
        other
        for other in list_pointers(schema)
        if (found := look_up(schema, other)) and found.kinds - {"null"} <= allowed
    ]
    end = pointer[pointer.rindex("/") :]
    same_end = next((other for other in known if other.endswith(end)), None)
    return f'did you mean "{same_end}"?' if same_end else did_you_mean(pointer, known)


def list_kinds(kinds: frozenset[str]) -> str:
    """Return types of values as a list in words: `a boolean, an integer or a string`."""
    if len(kinds) > 5:  # noqa: PLR2004 - all of them, or nearly
        return "anything"
    words = [
        kind if kind == "null" else f"{'an' if kind[0] in 'aeio' else 'a'} {kind}" for kind in sorted(kinds)
    ]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or "nothing"
