"""Logical names with dots → groups of attributes: `Orders.Create` becomes `orders.create`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from trellis_codegen import naming
from trellis_codegen.plan.collisions import Claim

__all__ = ["Group", "Member", "Surface", "claim_group_classes", "claim_group_names", "group_names"]

PlanT = TypeVar("PlanT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member(Generic[PlanT]):
    """One attribute, and what it stands for."""

    name: str
    """As the contract writes it: `Orders.Create`."""
    attribute: str
    constant: str
    """The name of its spec."""
    plan: PlanT


@dataclass(frozen=True, kw_only=True, slots=True)
class Group(Generic[PlanT]):
    """All names with one first part."""

    name: str
    """As the contract writes it: `Orders`."""
    attribute: str
    stem: str
    """What the names of its classes start with: `Orders`."""
    members: tuple[Member[PlanT], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface(Generic[PlanT]):
    """All names of one surface."""

    members: tuple[Member[PlanT], ...]
    """Every name, in the contract's order."""
    groups: tuple[Group[PlanT], ...]
    """The names with a dot."""
    direct: tuple[Member[PlanT], ...]
    """The names without a dot."""


def group_names(plans: Iterable[tuple[str, PlanT]]) -> Surface[PlanT]:
    """Put the plans of a surface, each with its logical name, into groups; everything keeps its order."""
    members: list[Member[PlanT]] = []
    groups: dict[str, list[Member[PlanT]]] = {}
    direct: list[Member[PlanT]] = []
    for name, plan in plans:
        first, dot, rest = naming.spell(name).partition(".")
        member = Member(
            name=name, attribute=naming.attribute(rest or first), constant=naming.constant(name), plan=plan
        )
        members.append(member)
        (groups.setdefault(first, []) if dot else direct).append(member)
    return Surface(
        members=tuple(members),
        groups=tuple(
            Group(
                name=name, attribute=naming.attribute(name), stem=naming.pascal(name), members=tuple(members)
            )
            for name, members in groups.items()
        ),
        direct=tuple(direct),
    )


def claim_group_names(section: str, names: Iterable[str]) -> Iterator[Claim]:
    """Yield the Python names that a surface needs: groups, attributes and constants."""
    groups: set[str] = set()
    for name in names:
        first, dot, rest = naming.spell(name).partition(".")
        pointer = (section, name)
        if dot and first not in groups:
            groups.add(first)
            yield Claim(f"{section}.{naming.attribute(first)}", pointer)
        leaf = f"{naming.attribute(first)}.{naming.attribute(rest)}" if dot else naming.attribute(first)
        yield Claim(f"{section}.{leaf}", pointer)
        yield Claim(f"{section}.{naming.constant(name)}", pointer)


def claim_group_classes(section: str, surface: Surface[PlanT], suffixes: tuple[str, ...]) -> Iterator[Claim]:
    """Yield the names of classes and constants in the file of a surface, each claimed by one name of its group."""
    for group in surface.groups:
        for suffix in suffixes:
            yield Claim(naming.class_name(f"{group.stem}{suffix}"), (section, group.members[0].name))
    for member in surface.members:
        yield Claim(member.constant, (section, member.name))
