"""Names for nested objects: elements of lists and members of unions are named after their place.

Every name depends only on the schema that contains it, and not on the order of its properties.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.naming import pascal, pascal_field, singular
from trellis_codegen.schemas.schema_forms import find_properties, make_letter

__all__ = ["PathName", "name_elements", "name_variants"]

JsonObject: TypeAlias = dict[str, JsonValue]

_FIELDS_IN_NAME = 3


@dataclass(frozen=True, slots=True)
class PathName:
    """What an object at one place is called."""

    short: str
    """The name that users import: `OrderItem`."""
    full: str
    """The name if another object has the short one: with the position in each union."""

    def join(self, word: str, full: str | None = None) -> PathName:
        """Return the name of a place inside this one."""
        return PathName(self.short + word, self.full + (word if full is None else full))


def name_elements(properties: JsonObject) -> dict[str, str]:
    """Return what one element of each property is called, if the property is a list.

    `items` holds an `Item`, unless the same object has a property `item`: then it holds an `ItemsItem`.
    """
    taken = {pascal_field(name) for name in properties}
    names = {name: singular(name) for name in properties}
    return {name: each if each not in taken else f"{pascal_field(name)}Item" for name, each in names.items()}


def name_variants(objects: list[JsonObject]) -> list[str]:
    """Return a name for each object of a union, made of what tells the objects apart.

    That is a constant that each has in the same field; else the title; else the fields that no other object has; else a
    letter. A single object needs no name.
    """
    if len(objects) <= 1:
        return [""] * len(objects)
    for names in (_constants(objects), _titles(objects), _own_fields(objects)):
        if all(names) and len(set(names)) == len(objects):
            return names
    return [f"Option{make_letter(index)}" for index in range(len(objects))]


def _constants(objects: list[JsonObject]) -> list[str]:
    for name in sorted(find_properties(objects[0])):
        names = [_constant(find_properties(schema).get(name)) for schema in objects]
        if all(names):
            return names
    return []


def _constant(schema: JsonValue) -> str:
    value = schema.get("const") if isinstance(schema, dict) else None
    return pascal(value) if isinstance(value, str) else ""


def _titles(objects: list[JsonObject]) -> list[str]:
    titles = [schema.get("title") for schema in objects]
    return [pascal(title) if isinstance(title, str) else "" for title in titles]


def _own_fields(objects: list[JsonObject]) -> list[str]:
    names = [set(find_properties(schema)) for schema in objects]
    others = [set[str]().union(*names[:index], *names[index + 1 :]) for index in range(len(names))]
    return [_joined(own - rest) for own, rest in zip(names, others, strict=True)]


def _joined(names: Iterable[str]) -> str:
    words = [pascal_field(name) for name in sorted(names)]
    return "".join(words[:_FIELDS_IN_NAME]) + ("AndMore" if len(words) > _FIELDS_IN_NAME else "")
