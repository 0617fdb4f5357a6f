"""Replaces what may be secret in a value: by the schema of the contract, and by pointer. Pure.

Secret is what the schema marks with `"writeOnly": true` or `"x-sensitive": true`, what a pointer names, and what the schema does not
declare: a member of that kind may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pydantic import JsonValue

from trellis_admin.samples.placeholders import blank, make_placeholder, type_of
from trellis_admin.samples.schema_parts import (
    Part,
    describe_item,
    describe_member,
    expand,
    is_described,
    is_record,
)

__all__ = ["Redacted", "Redaction", "is_replaced", "parse_pointer"]

_MARKS: Final = ("writeOnly", "x-sensitive")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""A name that a program chose. Another one may be data, such as an address."""

Place = tuple[str, ...]


class Redacted(NamedTuple):
    """A value without secrets."""

    value: JsonValue
    places: tuple[str, ...]
    """JSON pointers to what was replaced or left out, with `*` for items and for left-out names."""


def parse_pointer(text: str) -> Place:
    """Return the steps of a JSON pointer; `*` or `-` stands for every item of a list, `*` for every member too.

    Raises:
        ValueError: it is not a pointer, or names the whole value.
    """
    if not text.startswith("/"):
        raise ValueError(
            f'"{text}" is not a JSON pointer; it begins with "/", as in /card/number or /lines/*/note'
        )
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


def is_replaced(pointer: Place, places: Collection[str]) -> bool:
    """Return whether one of the places that were replaced is what a pointer names, or what that is in."""
    found = map(parse_pointer, filter(None, places))
    return "" in places or any(_matches(pointer[: len(place)], place) for place in found)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is secret in the values of one schema."""

    schema: JsonValue
    """A named schema of the contract; its references lead into itself."""
    pointers: tuple[Place, ...] = ()
    """What is secret in addition."""

    def redact(self, value: JsonValue) -> Redacted:
        """Return a value without its secrets. It has the same types, and is valid if placeholders can be."""
        run = _Run(self)
        redacted = run.walk(value, [self.schema], ())
        return Redacted(redacted, tuple(sorted(run.places)))


@dataclass(slots=True)
class _Run:
    """The redaction of one value."""

    redaction: Redaction
    places: set[str] = field(default_factory=set[str])

    def walk(self, value: JsonValue, schemas: list[JsonValue], place: Place) -> JsonValue:
        root = self.redaction.schema
        parts = expand(schemas, root)
        if self._is_named(place) or any(_is_marked(part) for part in parts):
            self._note(place)
            return make_placeholder(value, schemas, root)
        match value:
            case dict():
                return self._walk_object(value, parts, place)
            case list():
                return [self._walk_item(item, parts, place, index) for index, item in enumerate(value)]
            case _ if is_described(parts):
                return value
            case _:
                self._note(place)
                return blank(type_of(value))

    def _walk_object(self, value: dict[str, JsonValue], parts: Sequence[Part], place: Place) -> JsonValue:
        kept: dict[str, JsonValue] = {}
        has_names = is_record(parts)
        for name, member in value.items():
            schemas = describe_member(parts, name)
            if schemas:
                kept[name] = self.walk(member, schemas, (*place, name))
            elif has_names and _NAME.fullmatch(name):
                self._note((*place, name))
                kept[name] = blank(type_of(member))
            else:
                self._note((*place, "*"))
        return kept

    def _walk_item(self, item: JsonValue, parts: Sequence[Part], place: Place, index: int) -> JsonValue:
        schemas = describe_item(parts, index)
        if schemas:
            return self.walk(item, schemas, (*place, "*"))
        self._note((*place, "*"))
        return blank(type_of(item))

    def _is_named(self, place: Place) -> bool:
        return any(_matches(pointer, place) for pointer in self.redaction.pointers)

    def _note(self, place: Place) -> None:
        self.places.add("".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in place))


def _is_marked(part: Part) -> bool:
    return any(part.get(mark, False) is not False for mark in _MARKS)


def _matches(pointer: Place, place: Place) -> bool:
    return len(pointer) == len(place) and all(map(_matches_step, pointer, place))


def _matches_step(wanted: str, step: str) -> bool:
    """Return whether a step of a pointer names a member, or an item, whose step is `*`."""
    return wanted in (step, "*") or (step == "*" and (wanted == "-" or wanted.isdigit()))
