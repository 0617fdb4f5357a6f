"""Decides which members of a union keep what they do not declare, because another member declares it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.schemas.normalizing import are_disjoint
from trellis_codegen.schemas.origins import is_anything
from trellis_codegen.schemas.schema_forms import find_properties, is_object

__all__ = ["find_keeping"]

JsonObject: TypeAlias = dict[str, JsonValue]


def find_keeping(members: list[JsonValue], targets: Mapping[str, JsonValue]) -> set[int]:
    """Return the positions of the members whose classes must keep further members.

    A value may match several members of a union, but is read as one class. Members that only another class declares would be
    dropped.
    """
    objects = [_find_objects(member, targets) for member in members]
    return {
        index
        for index, own in enumerate(objects)
        if any(
            _lacks(one, other)
            for one in own
            if is_object(one)
            for others in (*objects[:index], *objects[index + 1 :], own)
            for other in others
            if other is not one
        )
    }


def _find_objects(member: JsonValue, targets: Mapping[str, JsonValue]) -> list[JsonValue]:
    """Return the schemas of objects and maps that a member of a union stands for."""
    if not isinstance(member, dict):
        return [member] if member is True else []
    if isinstance(reference := member.get("$ref"), str):
        target = targets[reference]
        alternatives = target.get("anyOf") if isinstance(target, dict) else None
        inner = alternatives if isinstance(alternatives, list) else [target]
        return [each for each in inner if isinstance(each, dict) and each.get("type") == "object"]
    return [member] if is_anything(member) or member.get("type") == "object" else []


def _lacks(one: JsonObject, other: JsonValue) -> bool:
    """Whether a value of one object may have members that only the other declares."""
    if is_object(other):
        new = find_properties(other).keys() - find_properties(one).keys()
        return bool(new) and not are_disjoint(one, other)
    return one.get("additionalProperties") is not False
