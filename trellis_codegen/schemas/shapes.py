"""Nested objects of identical shape are one type: where it lives and what it is called.

Both depend on the shape alone, never on who uses it: see docs/decisions/0002-shapes-have-a-home.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.naming import pascal, snake

__all__ = ["Shape", "shape_of", "variant_names"]

JsonObject: TypeAlias = dict[str, JsonValue]

_FIELDS_IN_NAME = 3
_DIGEST_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """The identity of a nested object."""

    class_name: str
    """Made of its first fields: `ProductIdQuantity`."""
    module: str
    """The same with a digest of the whole shape: `product_id_quantity_4f2a91c0`."""


def shape_of(schema: JsonObject) -> Shape:
    """Return the shape of an object schema without references.

    The order of members does not count; descriptions do, because they become docstrings.
    """
    digest = hashlib.sha256(canonical_json(schema).encode()).hexdigest()[:_DIGEST_LENGTH]
    class_name = _field_names(list(_properties(schema)))
    return Shape(class_name, f"{snake(class_name)}_{digest}")


def variant_names(members: list[JsonValue]) -> list[str]:
    """Return a name for each member of a union of objects, told apart by what tells the objects apart.

    That is a constant that each has in the same field; else the title; else the fields that no other member has; else a letter.
    """
    objects = [member if isinstance(member, dict) else {} for member in members]
    for names in (_discriminators(objects), _titles(objects), _own_fields(objects)):
        if all(names) and len(set(names)) == len(names):
            return names
    return [f"Option{chr(ord('A') + index % 26) * (1 + index // 26)}" for index in range(len(objects))]


def _discriminators(objects: list[JsonObject]) -> list[str]:
    shared = set.intersection(*({*_properties(each)} for each in objects))
    for name in sorted(shared):
        constants = [_constant(_properties(each)[name]) for each in objects]
        if all(constants):
            return [pascal(each) for each in constants]
    return [""]


def _constant(schema: JsonValue) -> str:
    value = schema.get("const") if isinstance(schema, dict) else None
    return value if isinstance(value, str) else ""


def _titles(objects: list[JsonObject]) -> list[str]:
    return [pascal(title) if isinstance(title := each.get("title"), str) else "" for each in objects]


def _own_fields(objects: list[JsonObject]) -> list[str]:
    result: list[str] = []
    for each in objects:
        others = {name for other in objects if other is not each for name in _properties(other)}
        own = [name for name in _properties(each) if name not in others]
        result.append(_field_names(own) if own else "")
    return result


def _field_names(names: list[str]) -> str:
    words = [pascal(name) for name in sorted(names)]
    more = ["AndMore"] if len(words) > _FIELDS_IN_NAME else []
    return "".join([*words[:_FIELDS_IN_NAME], *more]) or "Empty"


def _properties(schema: JsonObject) -> JsonObject:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}
