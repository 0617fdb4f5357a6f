"""Where the schemas of an expanded schema stand in the contract.

Expanding and merging make schemas that stand nowhere. Each carries the places of the schemas that it is made of, under a
keyword of its own, so that what is lost on the way is reported where the author can find it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.problems import Pointer, Problem, Severity
from trellis_codegen.rule_ids import Rule

__all__ = [
    "ORIGINS",
    "Loss",
    "are_same",
    "find_origins",
    "is_anything",
    "join_origins",
    "make_loss",
    "report_losses",
]

JsonObject: TypeAlias = dict[str, JsonValue]

ORIGINS = "$origins"
"""The keyword: a list of pointers, each a list of steps from the named schema."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A keyword that models do not enforce, or not fully."""

    origins: tuple[Pointer, ...]
    """The places of the schema that has it, from the named schema on."""
    keyword: str
    what: str


def find_origins(schema: JsonValue) -> tuple[Pointer, ...]:
    """Return the places that a schema is made of."""
    places = schema.get(ORIGINS) if isinstance(schema, dict) else None
    return tuple(tuple(cast("list[str | int]", place)) for place in cast("list[JsonValue]", places or []))


def join_origins(*schemas: JsonValue) -> JsonObject:
    """Return the keyword for a schema that is made of others; without a place, an empty object."""
    places = dict.fromkeys(place for schema in schemas for place in find_origins(schema))
    return {ORIGINS: [list[JsonValue](place) for place in places]} if places else {}


def make_loss(schema: JsonValue, keyword: str, what: str) -> Loss:
    """Return a loss at the place of a schema."""
    return Loss(find_origins(schema), keyword, what)


def are_same(one: JsonValue, other: JsonValue) -> bool:
    """Whether two schemas are equal, wherever they stand."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = one.keys() - {ORIGINS}
        return names == other.keys() - {ORIGINS} and all(are_same(one[name], other[name]) for name in names)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_same, one, other))
    return type(one) is type(other) and one == other


def is_anything(schema: JsonValue) -> bool:
    """Whether a schema is `true` or empty."""
    return schema is True or (isinstance(schema, dict) and not schema.keys() - {ORIGINS})


def report_losses(losses: Iterable[Loss], source: JsonValue, pointer: Pointer) -> Iterator[Problem]:
    """Yield a warning for each loss, at its keyword if one of its places has it, else at its first place."""
    reported: set[tuple[Pointer, str]] = set()
    for loss in losses:
        found = [(*place, loss.keyword) for place in loss.origins if _has(source, place, loss.keyword)]
        place = (*pointer, *(found[-1] if found else loss.origins[0] if loss.origins else ()))
        if (place, loss.what) not in reported:
            reported.add((place, loss.what))
            yield Problem(
                pointer=place,
                rule=Rule.UNENFORCED_KEYWORD,
                what=loss.what,
                on_key=True,
                severity=Severity.WARNING,
            )


def _has(source: JsonValue, place: Pointer, keyword: str) -> bool:
    for step in place:
        if isinstance(source, dict) and isinstance(step, str):
            source = source.get(step)
        elif isinstance(source, list) and isinstance(step, int) and step < len(source):
            source = source[step]
        else:
            return False
    return isinstance(source, dict) and keyword in source
