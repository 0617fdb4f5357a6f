"""Takes a kind apart, so that each piece may be covered by another member of a union."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

from trellis_codegen.breaking.proof.kinds import (
    NEVER,
    Kind,
    ListOf,
    Number,
    Object,
    Text,
    Truth,
    Union,
    Values,
    follow,
    list_members,
)

__all__ = ["list_splits"]

Pieces: TypeAlias = Sequence[Kind]
_MOST_CONSTANTS = 16


def list_splits(kind: Kind, members: Sequence[Kind]) -> Iterator[Pieces]:
    """Yield ways to take a kind apart at what tells the members of a union from each other. Pieces together are the kind."""
    match kind:
        case Object():
            yield from _split_object(kind, [member for member in members if isinstance(member, Object)])
        case Number():
            cuts = {
                bound
                for member in members
                if isinstance(member, Number)
                for bound in (member.low, member.high)
                if bound is not None
            }
            yield from (pieces for cut in sorted(cuts) if (pieces := _split_number(kind, cut)))
        case Text() if kind.format is None:
            for count in _list_lengths(member for member in members if isinstance(member, Text)):
                if kind.shortest < count and (kind.longest is None or count <= kind.longest):
                    yield [replace(kind, longest=count - 1), replace(kind, shortest=count)]
        case ListOf():
            for count in _list_lengths(member for member in members if isinstance(member, ListOf)):
                if kind.shortest < count and (kind.longest is None or count <= kind.longest):
                    yield [replace(kind, longest=count - 1), replace(kind, shortest=count)]
        case _:
            pass


def _list_lengths(members: Iterable[Text | ListOf]) -> list[int]:
    found: set[int] = set()
    for member in members:
        found.add(member.shortest)
        if member.longest is not None:
            found.add(member.longest + 1)
    return sorted(found - {0})


def _split_number(kind: Number, cut: Fraction) -> Pieces | None:
    if (kind.low is not None and cut <= kind.low) or (kind.high is not None and cut >= kind.high):
        return None
    if kind.whole:
        last = Fraction(math.floor(cut))
        return [replace(kind, high=last), replace(kind, low=last + 1)]
    point = replace(kind, low=cut, high=cut, low_open=False, high_open=False)
    return [replace(kind, high=cut, high_open=True), point, replace(kind, low=cut, low_open=True)]


def _split_object(kind: Object, members: Sequence[Object]) -> Iterator[Pieces]:
    names = {name for member in members for name in member.members}
    for name in sorted(names & kind.members.keys()):
        member = follow(kind.members[name])
        if name not in kind.required:
            yield [
                _with_member(kind, name, NEVER),
                replace(kind, required=kind.required | {name}),
            ]
            continue
        parts: list[Kind] = []
        match member:
            case Union():
                parts = [*list_members(member)]
            case Values(values=values) if 1 < len(values) <= _MOST_CONSTANTS:
                parts = [Values((value,)) for value in values]
            case Truth():
                parts = [Values((False,)), Values((True,))]
            case Number() | Text() | ListOf():
                theirs = [
                    inner
                    for other in members
                    if name in other.members
                    for inner in list_members(other.members[name])
                ]
                yield from (
                    [_with_member(kind, name, piece) for piece in pieces]
                    for pieces in list_splits(member, theirs)
                )
            case _:
                pass
        if len(parts) > 1:
            yield [_with_member(kind, name, part) for part in parts]


def _with_member(kind: Object, name: str, member: Kind) -> Object:
    return replace(kind, members={**kind.members, name: member})
