"""Which member of a union corresponds to a kind: so that a change inside it is reported where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.breaking.proof.kinds import (
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
    Values,
    follow,
)
from trellis_codegen.schemas.enum_filter import equality_key

__all__ = ["find_partner", "find_tags", "name_type"]

Tags: TypeAlias = dict[str, str]


def find_partner(kind: Kind, members: Sequence[Kind]) -> Kind | None:
    """Return the only member of the same JSON type; of several objects, the one with the same tags."""
    same = [member for member in members if name_type(member) == name_type(kind)]
    tags = find_tags(kind)
    if tags:
        # An object without tags may be the partner of one that has them.
        tagged = [member for member in same if find_tags(member) == tags]
        same = tagged or [member for member in same if not find_tags(member).keys() & tags.keys()]
    return same[0] if len(same) == 1 else None


def find_tags(kind: Kind) -> Tags:
    """Return the required members of an object that are one constant, with the constant."""
    found = follow(kind)
    if not isinstance(found, Object):
        return {}
    return {
        name: equality_key(constant)
        for name in found.required
        for constant in _find_constant(found.members[name])
    }


def _find_constant(kind: Kind) -> Sequence[JsonValue]:
    found = follow(kind)
    return found.values if isinstance(found, Values) and len(found.values) == 1 else ()


def name_type(kind: Kind) -> str:
    """Return the JSON type of a kind in words."""
    match follow(kind):
        case Anything():
            return "anything"
        case Null():
            return "null"
        case Truth():
            return "a boolean"
        case Text():
            return "a text"
        case Number():
            return "a number"
        case ListOf() | Tuple():
            return "a list"
        case Object():
            return "an object"
        case Values():
            return "constants"
        case Link():
            return "a reference"
        case _:
            return "nothing"
