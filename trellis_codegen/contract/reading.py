"""Bytes → Manifest, or every problem at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from trellis_codegen.contract import text as json_text
from trellis_codegen.contract.exchange import ErrorRef
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.other_words import suggest_own_word
from trellis_codegen.contract.partial import drop_consequences, list_entries, remove_faults
from trellis_codegen.contract.parts import SchemaRef
from trellis_codegen.contract.positions import locate
from trellis_codegen.contract.rules import check
from trellis_codegen.contract.unsupported import find_unsupported
from trellis_codegen.problems import Pointer, Problem, ProblemsFound, Severity, closest, did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = ["ContractInvalid", "Reading", "read_manifest"]


_MOST_OF_A_KIND = 200
"""The number of unknown fields that are reported: more are not read, and each hint takes time."""
_KINDS = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "int_type": "an integer",
    "list_type": "a list",
    "model_type": "an object",
    "string_type": "a string",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A valid contract, and the warnings for its author."""

    manifest: Manifest
    source: str
    """The text of the document, for positions."""
    warnings: tuple[Problem, ...] = ()


class ContractInvalid(ProblemsFound):
    """A contract violates the format or its rules. `rest` is what remains without the faulty entries."""

    def __init__(
        self, problems: list[Problem], *, rest: Manifest | None, source: str, unchecked: Sequence[Pointer]
    ) -> None:
        super().__init__(problems, unchecked=unchecked)
        self.rest = rest
        """The contract without the entries that violate the format; None if nothing is left."""
        self.source = source


def read_manifest(data: bytes, *, strict: bool = False) -> Reading:
    """Read a contract.

    A member that the format does not have is a warning, because the format is open; with `strict` it is an error.

    Raises:
        ContractInvalid: every problem of the document, located and sorted.
        ProblemsFound: it is not even JSON.
    """
    source = json_text.decode(data)
    value = json_text.parse(source)
    unknown_severity = Severity.ERROR if strict else Severity.WARNING
    manifest, rest, problems, unchecked = _validate(value, unknown_severity)
    if manifest is not None:
        problems += check(manifest)
    problems = locate(problems, source)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ContractInvalid(problems, rest=manifest or rest, source=source, unchecked=unchecked)
    if manifest is None:
        raise ProblemsFound(
            [Problem(pointer=(), rule=Rule.WRONG_TYPE, what="not a contract", line=1, column=1)]
        )
    return Reading(manifest=manifest, source=source, warnings=tuple(problems))


def _validate(
    value: JsonValue, unknown_severity: Severity
) -> tuple[Manifest | None, Manifest | None, list[Problem], list[Pointer]]:
    """Fit the value into the format: twice if it has unknown members, the second time without them.

    Returns the contract, else what is left of it without its faulty entries, the problems, and the entries without which the
    rules were checked.
    """
    problems = [*_nulls(value, ())]
    try:
        return Manifest.model_validate(value), None, problems, []
    except ValidationError as error:
        details = error.errors(include_url=False)
    unknown = [_pointer(detail) for detail in details if detail["type"] == "extra_forbidden"]
    faults = [_fault(detail, value) for detail in details if detail["type"] != "extra_forbidden"]
    faults = [fault for fault in faults if not any(fault.pointer == null.pointer for null in problems)]
    faults, explained = _explain_missing(faults, unknown)
    problems = [
        problem for problem in problems if not any(problem.pointer[: len(way)] == way for way in unknown)
    ]
    faults += [
        fault for pointer in unknown if (fault := find_unsupported(pointer, _value_at(value, pointer)))
    ]
    explained |= {fault.pointer for fault in faults}
    problems += faults
    unexplained = [pointer for pointer in unknown if pointer not in explained]
    problems += [_unknown_field(pointer, unknown_severity) for pointer in unexplained[:_MOST_OF_A_KIND]]
    if faults:
        places = [_pointer(detail) for detail in details if detail["type"] != "extra_forbidden"]
        rest = _rest(_without(value, unknown), places)
        others = [] if rest is None else drop_consequences(check(rest), places)
        return None, rest, problems + others, list_entries(places) if rest is not None else [()]
    try:
        return Manifest.model_validate(_without(value, unknown)), None, problems, []
    except ValidationError as error:
        faults = [_fault(detail, value) for detail in error.errors(include_url=False)]
        return None, None, problems + faults, [()]


def _rest(value: JsonValue, faults: list[Pointer]) -> Manifest | None:
    """Return the part that follows the format, so that one run reports everything; None if removing the faults is not enough."""
    try:
        return Manifest.model_validate(remove_faults(value, faults))
    except ValidationError:
        return None


def _fault(details: ErrorDetails, document: JsonValue) -> Problem:
    """Return a validation error of pydantic as a problem."""
    pointer, context = _pointer(details), details.get("ctx", {})
    given = _value_at(document, pointer)
    match details["type"]:
        case "missing":
            what = f'missing field "{pointer[-1]}"'
            hint = _suggest_schema(pointer, details["input"]) or _suggest_value(pointer)
            return Problem(pointer=pointer[:-1], rule=Rule.MISSING_FIELD, what=what, hint=hint)
        case "literal_error":
            wanted = str(context["expected"]).replace("'", '"')
            hint = did_you_mean(given, wanted.split('"')[1::2]) if isinstance(given, str) else None
            return Problem(
                pointer=pointer,
                rule=Rule.WRONG_VALUE,
                what=f"expected {wanted}, got {_shown(given)}",
                hint=hint,
            )
        case "string_too_short" | "too_short":
            return Problem(
                pointer=pointer,
                rule=Rule.EMPTY_VALUE,
                what="must not be empty",
                on_key=details["loc"][-1] == "[key]",
            )
        case "greater_than_equal":
            return Problem(
                pointer=pointer,
                rule=Rule.OUT_OF_RANGE,
                what=f"must be at least {context['ge']}, got {_shown(given)}",
            )
        case "string_pattern_mismatch":
            return Problem(
                pointer=pointer,
                rule=Rule.WRONG_VALUE,
                what=f"{_shown(given)} does not match {context['pattern']}",
                hint=f'write "v{given}"' if pointer[-1] == "version" and str(given).isdecimal() else None,
            )
        case kind if kind in _KINDS:
            hint = _suggest_reference(context.get("class_name"), given) or _suggest_list(kind, pointer, given)
            return Problem(
                pointer=pointer,
                rule=Rule.WRONG_TYPE,
                what=f"expected {_KINDS[kind]}, got {_shown(given)}",
                hint=hint,
            )
        case _:
            return Problem(
                pointer=pointer,
                rule=Rule.WRONG_VALUE,
                what=str(details["msg"])[:1].lower() + str(details["msg"])[1:],
            )


def _suggest_schema(pointer: Pointer, given: JsonValue) -> str | None:
    """Return what to write for a `$ref`, or for a schema, where the format has the name of a schema."""
    match given:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2] or "…"
            return f'name an entry of "schemas": {{"schema": "{name}"}}'
        case {"type": _} | {"properties": _} if pointer[-1] == "schema":
            return 'declare it under "schemas", and name it here: {"schema": "…"}'
        case _:
            return None


def _suggest_value(pointer: Pointer) -> str | None:
    """Return the usual subject or version of an RPC, operation, event or feed that has none."""
    match pointer:
        case ("rpc" | "operations" | "events" | "feeds" as surface, str(name), "subject"):
            return f'by convention it is "{surface}.v1.{name}"'
        case ("rpc" | "operations" | "events" | "feeds", str(), "version"):
            return 'the first one is "v1"'
        case _:
            return None


def _suggest_reference(class_name: object, given: object) -> str | None:
    """Return what to write for the bare name of a schema or of an error."""
    member = {SchemaRef.__name__: "schema", ErrorRef.__name__: "type"}.get(str(class_name))
    return f'write {{"{member}": "{given}"}}' if member and isinstance(given, str) else None


def _suggest_list(kind: str, pointer: Pointer, given: JsonValue) -> str | None:
    """Return what to write for an element in place of a list, and for a list in place of an object that has it alone."""
    if kind == "list_type" and isinstance(given, str):
        return f"write [{_shown(given)}]"
    members = _members_at(pointer)
    if (
        kind == "model_type"
        and isinstance(given, list)
        and len(members) == 1
        and _is_list((*pointer, members[0]))
    ):
        return f'write {{"{members[0]}": […]}}'
    return None


def _explain_missing(faults: list[Problem], unknown: list[Pointer]) -> tuple[list[Problem], set[Pointer]]:
    """Report a missing member and its misspelt twin as one problem instead of two."""
    explained: set[Pointer] = set()
    result: list[Problem] = []
    for fault in faults:
        missing = fault.what.removeprefix('missing field "').removesuffix('"')
        others = [
            pointer for pointer in unknown if pointer[:-1] == fault.pointer and pointer not in explained
        ]
        close = closest(missing, [str(other[-1]) for other in others]) if missing != fault.what else None
        if close is None:
            result.append(fault)
            continue
        misspelt = (*fault.pointer, close)
        explained.add(misspelt)
        what = f'{fault.what}, but there is "{close}"'
        hint = f'did you mean "{missing}"?'
        result.append(replace(fault, pointer=misspelt, what=what, hint=hint, on_key=True))
    return result, explained


def _unknown_field(pointer: Pointer, severity: Severity) -> Problem:
    name, members = str(pointer[-1]), _members_at(pointer[:-1])
    parent = next((each for each in members if name in _members_at((*pointer[:-1], each))), None)
    hint = f'write it inside "{parent}"' if parent else did_you_mean(name, members)
    hint = suggest_own_word(name, members) or hint
    return Problem(
        pointer=pointer,
        rule=Rule.UNKNOWN_FIELD,
        what="unknown field",
        hint=hint,
        on_key=True,
        severity=severity,
    )


def _nulls(value: JsonValue, pointer: Pointer) -> Iterator[Problem]:
    """Find nulls: the format has none, except inside embedded schemas."""
    if value is None:
        yield Problem(
            pointer=pointer, rule=Rule.NULL_VALUE, what="null is not allowed here; leave the field out"
        )
    elif isinstance(value, dict) and pointer[:1] != ("schemas",):
        for name, each in value.items():
            yield from _nulls(each, (*pointer, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _nulls(each, (*pointer, index))


def _members_at(pointer: Pointer) -> list[str]:
    """Return the members that the format has at a place."""
    annotation = _annotation_at(pointer)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [field.alias for field in annotation.model_fields.values() if field.alias]
    return []


def _is_list(pointer: Pointer) -> bool:
    return get_origin(_annotation_at(pointer)) is list


def _annotation_at(pointer: Pointer) -> object:
    annotation: object = Manifest
    for step in pointer:
        annotation = _bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = {field.alias: field.annotation for field in annotation.model_fields.values()}
            annotation = fields.get(str(step))
        else:
            annotation = next(reversed(get_args(annotation)), None)
    return _bare(annotation)


def _bare(annotation: object) -> object:
    """Return `X` for `X | None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next(argument for argument in get_args(annotation) if argument is not NoneType)
    return annotation


def _pointer(details: ErrorDetails) -> Pointer:
    return tuple(step for step in details["loc"] if step != "[key]")


def _value_at(document: JsonValue, pointer: Pointer) -> JsonValue:
    for step in pointer:
        if isinstance(document, dict):
            document = document.get(str(step))
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
    return document


def _shown(value: JsonValue) -> str:
    match value:
        case None | bool():
            return str(value).lower().replace("none", "null")
        case str():
            return f'"{value[:40]}"'
        case int() | float():
            return str(value)
        case list():
            return "a list"
        case _:
            return "an object"


def _without(value: JsonValue, pointers: list[Pointer]) -> JsonValue:
    result = copy.deepcopy(value)
    for pointer in pointers:
        parent = _value_at(result, pointer[:-1])
        if isinstance(parent, dict):
            parent.pop(str(pointer[-1]), None)
    return result
