"""Whether a model reads a value, and whether it could have written it."""

from __future__ import annotations

from pydantic import JsonValue

from trellis_codegen.breaking.proof.kinds import (
    UNDECLARED,
    Anything,
    Kind,
    Link,
    ListOf,
    Null,
    Number,
    Object,
    Text,
    Truth,
    Tuple,
    Union,
    Values,
)
from trellis_codegen.breaking.proof.numbers import takes_number
from trellis_codegen.breaking.proof.texts import matches_pattern, takes_text, writes_text
from trellis_codegen.schemas.enum_filter import equality_key

__all__ = ["takes", "writes"]


def takes(kind: Kind, value: JsonValue) -> bool:
    """Return whether the model reads a value."""
    return _fits(kind, value, writer=False, undeclared=True)


def writes(kind: Kind, value: JsonValue, *, undeclared: bool) -> bool:
    """Return whether the model may have written a value; with `undeclared`, another runtime with members of its own too."""
    return _fits(kind, value, writer=True, undeclared=undeclared)


def _fits(kind: Kind, value: JsonValue, *, writer: bool, undeclared: bool) -> bool:
    match kind:
        case Link():
            return _fits(kind.target, value, writer=writer, undeclared=undeclared)
        case Union(members=members):
            return any(_fits(member, value, writer=writer, undeclared=undeclared) for member in members)
        case ListOf(item=item, shortest=shortest, longest=longest):
            return (
                isinstance(value, list)
                and len(value) >= shortest
                and (longest is None or len(value) <= longest)
                and all(_fits(item, each, writer=writer, undeclared=undeclared) for each in value)
            )
        case Tuple(positions=positions):
            return (
                isinstance(value, list)
                and len(value) == len(positions)
                and all(
                    _fits(place, each, writer=writer, undeclared=undeclared)
                    for place, each in zip(positions, value, strict=True)
                )
            )
        case Object():
            return isinstance(value, dict) and _fits_object(kind, value, writer=writer, undeclared=undeclared)
        case _:
            return _fits_plain(kind, value, writer=writer)


def _fits_plain(kind: Kind, value: JsonValue, *, writer: bool) -> bool:
    match kind, value:
        case (Anything(), _) | (Null(), None) | (Truth(), bool()):
            return True
        case Values(), _:
            return equality_key(value) in kind.keys
        case Text(), str():
            return writes_text(kind, value) if writer else takes_text(kind, value)
        case Number(), int() | float():
            return not isinstance(value, bool) and takes_number(kind, value)
        case _:
            return False


def _fits_object(kind: Object, value: dict[str, JsonValue], *, writer: bool, undeclared: bool) -> bool:
    if not kind.required <= value.keys():
        return False
    for name, each in value.items():
        if name in kind.members:
            if not _fits(kind.members[name], each, writer=writer, undeclared=undeclared):
                return False
        elif (
            kind.further is None
            or (kind.further is UNDECLARED and not undeclared)
            or (kind.names is not None and not matches_pattern(kind.names, name))
            or not _fits(kind.further, each, writer=writer, undeclared=undeclared)
        ):
            return False
    return True
