"""Where a proof failed: the place, the two kinds there, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, NamedTuple, TypeAlias

from trellis_codegen.breaking.proof.kinds import Kind, Object, follow
from trellis_codegen.problems import Pointer

__all__ = ["Cause", "Failure", "Site", "Step", "Way", "print_way"]


class Cause(Enum):
    """Why a pair of kinds is not proven."""

    TYPE = auto()
    VALUES = auto()
    """A constant is refused, or only constants are taken."""
    REQUIRED = auto()
    """The reader requires a member that the writer may leave out."""
    REFUSED = auto()
    """The reader refuses a member that the writer declares."""
    FURTHER = auto()
    """The reader refuses further members."""
    NAMED = auto()
    """A further member of the writer may have the name of a member that the reader declares."""
    NAMES = auto()
    """Further members have other names."""
    FORMAT = auto()
    LENGTH = auto()
    PATTERN = auto()
    WHOLE = auto()
    BOUND = auto()
    TUPLE = auto()
    UNION = auto()
    """No member of the reader's union takes all of it."""
    TOO_LARGE = auto()


class Step(NamedTuple):
    """A step from a kind to one inside it."""

    into: Literal["member", "item", "position", "further", "choice"]
    name: str | int = ""


Way: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A place in the values, with what both sides have there before unions are taken apart."""

    way: Way
    """From the root of the writer."""
    writer: Kind
    reader: Kind
    writer_place: Pointer = ()
    """Where the writer's schema stands."""
    reader_place: Pointer = ()

    def enter(self, way: Way, writer: Kind, reader: Kind, owners: tuple[Kind, Kind]) -> Site:
        """Return the place that the last step of `way` leads to, from the owners of both kinds."""
        step = way[-1]
        return Site(
            way,
            writer,
            reader,
            _extend(self.writer_place, owners[0], step),
            _extend(self.reader_place, owners[1], step),
        )


def _extend(place: Pointer, owner: Kind, step: Step) -> Pointer:
    owner = follow(owner)
    if isinstance(owner, Object):
        inner = owner.place or place
        if step.into == "member" and step.name in owner.members:
            return (*inner, "properties", step.name)
        return (*inner, "additionalProperties") if owner.further is not None else inner
    return (*place, "items")


@dataclass(frozen=True, slots=True, eq=False)
class Failure:
    """A pair of kinds that is not proven."""

    site: Site
    way: Way
    """From the root of the writer, with the choices in unions."""
    writer: Kind
    reader: Kind
    cause: Cause
    name: str = ""
    """The member that the cause is about."""


def print_way(way: Way) -> str:
    """Return a place in values: `/items/[]/sku`; the root is `/`."""
    steps: list[str] = []
    for step in way:
        match step.into:
            case "member":
                steps.append(str(step.name).replace("~", "~0").replace("/", "~1"))
            case "position":
                steps.append(str(step.name))
            case "item":
                steps.append("[]")
            case "further":
                steps.append("*")
            case "choice":
                pass
    return "/" + "/".join(steps)
