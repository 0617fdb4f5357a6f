"""Finds the objects of two models that stand at the same place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trellis_codegen.breaking.proof.failures import Step, Way
from trellis_codegen.breaking.proof.kinds import Kind, ListOf, Object, Tuple, Union, follow, list_members
from trellis_codegen.breaking.proof.partners import find_partner

__all__ = ["ObjectPair", "list_object_pairs"]


@dataclass(frozen=True, slots=True)
class ObjectPair:
    """An object before and after."""

    way: Way
    old: Object
    new: Object


def list_object_pairs(old: Kind, new: Kind) -> Iterator[ObjectPair]:
    """Yield the objects at the same places, each pair once."""
    seen: set[tuple[Kind, Kind]] = set()
    pending: list[tuple[Way, Kind, Kind]] = [((), old, new)]
    while pending:
        way, one, other = pending.pop(0)
        one, other = follow(one), follow(other)
        if (one, other) in seen:
            continue
        seen.add((one, other))
        if isinstance(one, Object) and isinstance(other, Object):
            yield ObjectPair(way, one, other)
        pending += _list_inside(way, one, other)


def _list_inside(way: Way, one: Kind, other: Kind) -> Iterator[tuple[Way, Kind, Kind]]:
    match one, other:
        case Object(), Object():
            for name, member in one.members.items():
                if name in other.members:
                    yield (*way, Step("member", name)), member, other.members[name]
            if one.further is not None and other.further is not None:
                yield (*way, Step("further")), one.further, other.further
        case ListOf(), ListOf():
            yield (*way, Step("item")), one.item, other.item
        case Tuple(), Tuple():
            for index, pair in enumerate(zip(one.positions, other.positions, strict=False)):
                yield (*way, Step("position", index)), *pair
        case (Union(), _) | (_, Union()):
            yield from ((way, *pair) for pair in _list_partners(one, other))
        case _:
            pass


def _list_partners(one: Kind, other: Kind) -> Iterator[tuple[Kind, Kind]]:
    members = [*list_members(other)]
    for member in list_members(one):
        partner = find_partner(member, members)
        if partner is not None:
            yield member, partner
