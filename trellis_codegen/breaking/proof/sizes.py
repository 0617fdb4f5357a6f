"""Whether a kind has a value at all, and the smallest one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.proof.kinds import (
    Anything,
    Kind,
    Link,
    ListOf,
    Never,
    Null,
    Number,
    Object,
    Text,
    Truth,
    Tuple,
    Union,
    Values,
)
from trellis_codegen.breaking.proof.numbers import list_numbers, tighten
from trellis_codegen.breaking.proof.texts import list_texts

__all__ = ["LONGEST_LIST", "NoValue", "has_value", "make_smallest", "rank_links"]


LONGEST_LIST: Final = 2_000
"""No list of a value that is made is longer."""


class NoValue(Exception):
    """No value of a kind is known."""


def rank_links(links: Iterable[Link]) -> None:
    """Give each link that has a value its rank. Values are finite: an object that requires itself has none."""
    unranked = [*links]
    rank = 0
    while True:
        found = [link for link in unranked if has_value(link.target)]
        if not found:
            return
        for link in found:
            link.rank = rank
        unranked = [link for link in unranked if link.rank is None]
        rank += 1


def has_value(kind: Kind, below: float = math.inf) -> bool:
    """Return whether a kind has a value, with links of a rank below a number only. Patterns are not looked at."""
    match kind:
        case Never():
            return False
        case Link(rank=rank):
            return rank is not None and rank < below
        case Union(members=options):
            return any(has_value(option, below) for option in options)
        case Tuple(positions=positions):
            return all(has_value(each, below) for each in positions)
        case Object():
            return all(has_value(kind.members[name], below) for name in kind.required)
        case ListOf(item=item, shortest=shortest, longest=longest):
            fits = longest is None or shortest <= longest
            return fits and (shortest == 0 or has_value(item, below))
        case Number():
            return not tighten(kind).is_empty
        case Values(values=values):
            return bool(values)
        case _:
            return True


def make_smallest(kind: Kind, below: float = math.inf) -> JsonValue:
    """Return a smallest value of a kind.

    Raises:
        NoValue: none is known.
    """
    match kind:
        case ListOf(item=item, shortest=shortest, longest=longest):
            if shortest > LONGEST_LIST or (longest is not None and longest < shortest):
                raise NoValue
            return [make_smallest(item, below) for _ in range(min(shortest, 1))] * shortest
        case Tuple(positions=positions):
            return [make_smallest(each, below) for each in positions]
        case Object(members=members, required=required):
            return {name: make_smallest(each, below) for name, each in members.items() if name in required}
        case Union(members=options):
            return _make_one_of(options, below)
        case Link(rank=rank):
            if rank is None or rank >= below:
                raise NoValue
            return make_smallest(kind.target, rank)
        case _:
            return _first(_list_plain(kind))


def _list_plain(kind: Kind) -> Iterable[JsonValue]:
    """Return values of a kind with nothing inside, the smallest first."""
    match kind:
        case Anything() | Null():
            return [None]
        case Truth():
            return [False]
        case Values(values=values):
            return values
        case Text():
            return list_texts(kind)
        case Number():
            return list_numbers(kind)
        case _:
            return []


def _make_one_of(members: tuple[Kind, ...], below: float) -> JsonValue:
    for member in members:
        if has_value(member, below):
            try:
                return make_smallest(member, below)
            except NoValue:
                continue
    raise NoValue


def _first(values: Iterable[JsonValue]) -> JsonValue:
    for value in values:
        return value
    raise NoValue
