"""A failed proof → the rule that names it. The pair at the place decides, before unions are taken apart."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.proof.covers import is_covered
from trellis_codegen.breaking.proof.failures import Cause, Failure
from trellis_codegen.breaking.proof.kinds import (
    Anything,
    Kind,
    Never,
    Null,
    Number,
    Object,
    Text,
    Values,
    allows_null,
    follow,
    list_members,
    without_null,
)
from trellis_codegen.breaking.proof.partners import find_tags, name_type
from trellis_codegen.breaking.proof.texts import takes_text

__all__ = ["explain_doubt", "name_failure"]

_PAIRS: Final = {
    Cause.LENGTH: ("LENGTH_NARROWED", "LENGTH_WIDENED"),
    Cause.PATTERN: ("PATTERN_NARROWED", "PATTERN_WIDENED"),
    Cause.FORMAT: ("FORMAT_NARROWED", "FORMAT_WIDENED"),
    Cause.WHOLE: ("NUMBER_BECAME_INTEGER", "INTEGER_BECAME_NUMBER"),
    Cause.BOUND: ("BOUND_NARROWED", "BOUND_WIDENED"),
    Cause.TUPLE: ("TUPLE_CHANGED", "TUPLE_CHANGED"),
    Cause.FURTHER: ("EXTRA_MEMBERS_NARROWED", "EXTRA_MEMBERS_WIDENED"),
    Cause.NAMED: ("EXTRA_MEMBERS_NARROWED", "EXTRA_MEMBERS_WIDENED"),
    Cause.NAMES: ("MAP_NAMES_NARROWED", "MAP_NAMES_WIDENED"),
}
"""The rules of causes that say it all: from old to new, and from new to old."""
_ENUM: Final = ("ENUM_NARROWED", "ENUM_WIDENED")


def name_failure(failure: Failure, *, forward: bool) -> str:
    """Return the rule for a failure; `forward` says that the old contract writes."""
    writer = follow(failure.writer)
    match failure.cause:
        case Cause.REQUIRED if isinstance(writer, Object):
            is_declared = failure.name in writer.members
            if forward:
                return "FIELD_BECAME_REQUIRED" if is_declared else "FIELD_REQUIRED_ADDED"
            return "FIELD_BECAME_OPTIONAL" if is_declared else "FIELD_REQUIRED_REMOVED"
        case Cause.REFUSED if isinstance(writer, Object):
            is_required = failure.name in writer.required
            done = "REMOVED" if forward else "ADDED"
            return f"FIELD_{'REQUIRED' if is_required else 'OPTIONAL'}_{done}"
        case _:
            pass
    if failure.site.way and failure.site.way[-1].into == "further":
        return _PAIRS[Cause.FURTHER][not forward]
    return _name_value(failure, forward=forward)


def _name_value(failure: Failure, *, forward: bool) -> str:
    sides = failure.site.writer, failure.site.reader
    old, new = sides if forward else reversed(sides)
    if _is_null(failure.writer) and allows_null(old) is not allows_null(new):
        return "FIELD_LOST_NULL" if forward else "FIELD_BECAME_NULLABLE"
    if isinstance(follow(old), Anything | Never) or isinstance(follow(new), Anything | Never):
        return _name_extreme(new, forward=forward)
    if failure.cause is Cause.FORMAT and _has_format(failure.writer) and _has_format(failure.reader):
        return "FORMAT_NARROWED"
    if failure.cause in _PAIRS:
        return _PAIRS[failure.cause][not forward]
    if not _list_types(old) & _list_types(new):
        return "TYPE_CHANGED"
    if failure.cause is Cause.VALUES:
        return _name_constants(failure, old, new, forward=forward)
    if _is_tag_change(failure):
        return "TAG_CHANGED"
    if _has_constants_instead(failure):
        return _ENUM[not forward]
    return "UNION_MEMBER_REMOVED" if forward else "UNION_MEMBER_ADDED"


def _name_extreme(new: Kind, *, forward: bool) -> str:
    """Return the rule where one side takes anything, or nothing."""
    if forward and isinstance(follow(new), Never):
        return "BECAME_NEVER"
    return "BECAME_ANY" if not forward and isinstance(follow(new), Anything) else "TYPE_CHANGED"


def _has_constants_instead(failure: Failure) -> bool:
    """Return whether the reader's union takes constants only of what the writer sends."""
    types = _list_types(failure.writer)
    return any(
        isinstance(member, Values) and bool(_list_types(member) & types)
        for member in list_members(failure.reader)
    )


def _name_constants(failure: Failure, old: Kind, new: Kind, *, forward: bool) -> str:
    """Return the rule where one side has constants at least."""
    constants = [follow(without_null(side)) for side in (old, new)]
    if all(isinstance(side, Values) and len(side.values) == 1 for side in constants):
        return "CONST_CHANGED"
    writer = follow(failure.writer)
    readers = [*list_members(failure.reader)]
    if not isinstance(writer, Values) or any(isinstance(member, Values) for member in readers):
        return _ENUM[not forward]
    value = writer.values[0]
    for reader in readers:
        cause = _find_limit(reader, value)
        if cause is not None:
            return _PAIRS[cause][not forward]
    return "UNION_MEMBER_REMOVED" if forward else "UNION_MEMBER_ADDED"


def _find_limit(reader: Kind, value: JsonValue) -> Cause | None:
    """Return which limit of a kind refuses a constant of its type."""
    match reader, value:
        case Text(), str():
            if reader.format is not None:
                return Cause.FORMAT
            return Cause.PATTERN if takes_text(Text(reader.shortest, reader.longest), value) else Cause.LENGTH
        case Number(), bool():
            return None
        case Number(), int() | float():
            return Cause.BOUND
        case _:
            return None


def _is_null(kind: Kind) -> bool:
    found = follow(kind)
    return isinstance(found, Null) or (isinstance(found, Values) and found.values == (None,))


def _has_format(kind: Kind) -> bool:
    found = follow(kind)
    return isinstance(found, Text) and found.format is not None


def _list_types(kind: Kind) -> set[str]:
    """Return the JSON types of the values of a kind, without null."""
    found: set[str] = set()
    for member in list_members(kind):
        if isinstance(member, Values):
            found |= {_name_value_type(value) for value in member.values}
        else:
            found.add(name_type(member))
    return found - {"null"}


def _name_value_type(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"


def _is_tag_change(failure: Failure) -> bool:
    """Return whether an object differs from one that is new in the union in what tells the objects apart alone."""
    writer = follow(failure.writer)
    tags = find_tags(writer)
    if not tags or not isinstance(writer, Object):
        return False
    bare = _without(writer, tags.keys())
    ours = [*list_members(failure.site.writer)]
    for member in list_members(failure.site.reader):
        others = find_tags(member)
        if not isinstance(member, Object) or not others or others == tags:
            continue
        if any(find_tags(our) == others for our in ours):
            continue
        rest = _without(member, others.keys())
        if is_covered(bare, rest) and is_covered(rest, bare):
            return True
    return False


def _without(kind: Object, tags: AbstractSet[str]) -> Object:
    return Object(
        members={name: member for name, member in kind.members.items() if name not in tags},
        required=kind.required - tags,
        further=kind.further,
        names=kind.names,
    )


def explain_doubt(failure: Failure) -> str:
    """Return why a failure without a witness is not decided: one of a closed list of reasons."""
    writer, reader = follow(failure.writer), follow(failure.reader)
    match failure.cause:
        case Cause.TOO_LARGE:
            return "TOO_LARGE: the schemas are too large to decide"
        case Cause.NAMES:
            return "NAMES: the patterns of names are compared as text"
        case Cause.FORMAT | Cause.PATTERN | Cause.LENGTH if isinstance(writer, Text) and isinstance(
            reader, Text
        ):
            if writer.format is not None or reader.format is not None:
                return "FORMAT_AND_TEXT: a format is not compared with a pattern or a length"
            return "PATTERN: patterns are compared as text only"
        case Cause.UNION:
            return "UNION: no single member of the other union takes all of it"
        case _:
            return "NO_WITNESS: no value was found that shows it"
