"""What the values of a generated model are: a small tree, for comparing two models.

Kinds are compared by identity, so that a pair of them can be remembered. Only links lead back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, TypeAlias

from pydantic import JsonValue

from trellis_codegen.problems import Pointer
from trellis_codegen.schemas.enum_filter import equality_key

__all__ = [
    "ANYTHING",
    "NEVER",
    "NULL",
    "TRUTH",
    "UNDECLARED",
    "Anything",
    "Kind",
    "Link",
    "ListOf",
    "Never",
    "Null",
    "Number",
    "Object",
    "Text",
    "Truth",
    "Tuple",
    "Union",
    "Values",
    "allows_null",
    "follow",
    "list_inner",
    "list_members",
    "without_null",
]


@dataclass(frozen=True, slots=True, eq=False)
class Anything:
    """Any JSON value."""


@dataclass(frozen=True, slots=True, eq=False)
class Never:
    """No value."""


@dataclass(frozen=True, slots=True, eq=False)
class Null:
    """Null alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """True and false."""


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Constants, as JSON Schema compares them: `1` is `1.0`, and neither is `true`."""

    values: tuple[JsonValue, ...]

    @property
    def keys(self) -> frozenset[str]:
        """A text for each constant; equal constants have equal texts."""
        return frozenset(map(equality_key, self.values))


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """Strings; lengths count code points. With an enforced format, nothing else is enforced."""

    shortest: int = 0
    longest: int | None = None
    pattern: str | None = None
    """In the syntax of Rust, as the models have it."""
    format: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """Numbers, in exact fractions."""

    whole: bool = False
    low: Fraction | None = None
    high: Fraction | None = None
    low_open: bool = False
    """Whether the bound itself is refused."""
    high_open: bool = False
    step: Fraction | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ListOf:
    """Lists whose elements are of one kind."""

    item: Kind
    shortest: int = 0
    longest: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tuple:
    """Lists of one length, with a kind for each position."""

    positions: tuple[Kind, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """Objects, and maps: objects without members."""

    members: Mapping[str, Kind] = field(default_factory=dict[str, "Kind"])
    required: frozenset[str] = frozenset()
    further: Kind | None = None
    """What a member that is not declared holds. None: there is none. `UNDECLARED`: the schema says nothing about it."""
    names: str | None = None
    """The pattern of the names of further members."""
    defaults: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """What an absent member means; members without a default are missing."""
    place: Pointer = ()
    """Where the object stands in the named schema."""


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """Values of at least one of several kinds."""

    members: tuple[Kind, ...]


@dataclass(slots=True, eq=False)
class Link:
    """A class of the model, or a type that contains itself."""

    name: str
    targets: Mapping[str, Kind]
    rank: int | None = None
    """How many links a smallest value passes through; None if no value exists."""

    @property
    def target(self) -> Kind:
        """The kind that the link leads to."""
        return self.targets[self.name]


Kind: TypeAlias = (
    Anything | Never | Null | Truth | Values | Text | Number | ListOf | Tuple | Object | Union | Link
)

ANYTHING: Final = Anything()
UNDECLARED: Final = Anything()
"""Further members that the schema does not mention: readers take them, and other runtimes may send them."""
NEVER: Final = Never()
NULL: Final = Null()
TRUTH: Final = Truth()


def follow(kind: Kind) -> Kind:
    """Return the kind behind links."""
    while isinstance(kind, Link):
        kind = kind.target
    return kind


def list_members(kind: Kind) -> Iterator[Kind]:
    """Yield the kinds that a union consists of, also through links; of any other kind itself."""
    found = follow(kind)
    if isinstance(found, Union):
        for member in found.members:
            yield from list_members(member)
    else:
        yield found


def list_inner(kind: Kind) -> list[Kind]:
    """Return the kinds directly inside a kind."""
    match kind:
        case ListOf(item=item):
            return [item]
        case Tuple(positions=positions):
            return [*positions]
        case Object(members=members, further=further):
            return [*members.values(), *([] if further is None else [further])]
        case Union(members=options):
            return [*options]
        case Link():
            return [kind.target]
        case _:
            return []


def allows_null(kind: Kind) -> bool:
    """Return whether null is one of the declared values; a kind for anything does not declare it."""
    return any(
        isinstance(member, Null) or (isinstance(member, Values) and None in member.values)
        for member in list_members(kind)
    )


def without_null(kind: Kind) -> Kind:
    """Return a kind without null."""
    if not allows_null(kind):
        return kind
    rest: list[Kind] = []
    for member in list_members(kind):
        if isinstance(member, Values):
            values = tuple(value for value in member.values if value is not None)
            rest += [Values(values)] if values else []
        elif not isinstance(member, Null):
            rest.append(member)
    return rest[0] if len(rest) == 1 else Union(tuple(rest)) if rest else NEVER
