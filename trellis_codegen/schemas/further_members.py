"""Lets the objects of a union keep what they do not declare, because another member of the union declares it.

A value may match several members of a union, but is read as one of them. What only another one declares would be dropped: in the
object itself, in an object inside it, or in the objects of a list or a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.schemas.merging import MAX_UNION
from trellis_codegen.schemas.normalizing import are_disjoint, normalize
from trellis_codegen.schemas.origins import Loss, is_anything
from trellis_codegen.schemas.schema_forms import find_properties, is_object

__all__ = ["Keeper"]

JsonObject: TypeAlias = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Keeper:
    """Marks the objects that keep further members: their `additionalProperties` is true."""

    targets: Mapping[str, JsonValue]
    """The recursive references, each with its schema."""
    losses: list[Loss]
    references: set[str] = field(default_factory=set[str])
    """The recursive references whose classes keep further members."""

    def mark(self, members: list[JsonValue]) -> list[JsonValue]:
        """Return the members of a union, with the objects that keep further members marked."""
        return [
            self._marked(member, [*members[:index], *members[index + 1 :]])
            for index, member in enumerate(members)
        ]

    def _marked(self, schema: JsonValue, others: list[JsonValue]) -> JsonValue:
        """Mark what is inside a schema; a value of it may be one of the others too."""
        schema = normalize(schema, self.losses) if others else schema
        if not isinstance(schema, dict):
            return schema
        match schema:
            case {"$ref": str(reference)}:
                own = [target for target in self._expand(schema) if is_object(target)]
                if any(_lacks(one, other) for one in own for other in self._expand(*others)):
                    self.references.add(reference)
            case {"anyOf": [*members]}:
                return {**schema, "anyOf": [self._marked(member, others) for member in self.mark(members)]}
            case {"type": "object"}:
                return self._mark_object(schema, others)
            case {"type": "array"}:
                return self._mark_list(schema, [*self._expand(*others)])
            case _:
                pass
        return schema

    def _mark_object(self, schema: JsonObject, others: list[JsonValue]) -> JsonValue:
        rivals = [
            other
            for other in self._expand(*others)
            if is_anything(other) or (other.get("type") == "object" and _may_meet(schema, other, len(others)))
        ]
        result = dict(schema)
        if is_object(schema) and any(_lacks(schema, rival) for rival in rivals):
            result.setdefault("additionalProperties", True)
        if properties := find_properties(schema):
            result["properties"] = {
                name: self._marked(each, [inner for rival in rivals for inner in _find_inner(rival, name)])
                for name, each in properties.items()
            }
        elif isinstance(more := schema.get("additionalProperties"), dict):
            inners = [inner for rival in rivals for inner in _find_inner(rival, None)]
            result["additionalProperties"] = self._marked(more, inners)
        return result

    def _mark_list(self, schema: JsonObject, rivals: list[JsonObject]) -> JsonObject:
        result = dict(schema)
        elements = [rival["items"] for rival in rivals if rival.get("items")]
        places = [prefix for rival in rivals if isinstance(prefix := rival.get("prefixItems"), list)]
        if isinstance(prefix := schema.get("prefixItems"), list):
            result["prefixItems"] = [
                self._marked(each, [*elements, *(place[index] for place in places if index < len(place))])
                for index, each in enumerate(prefix)
            ]
        if "items" in schema:
            anywhere = [each for place in places for each in place]
            result["items"] = self._marked(schema["items"], [*elements, *anywhere])
        return result

    def _expand(self, *schemas: JsonValue) -> Iterator[JsonObject]:
        """Yield the schemas of one type that schemas stand for."""
        for schema in schemas:
            match normalize(schema):
                case {"$ref": str(reference)}:
                    target = self.targets[reference]
                    members = target.get("anyOf") if isinstance(target, dict) else None
                    inner = members if isinstance(members, list) else [target]
                    yield from (each for each in inner if isinstance(each, dict) and "$ref" not in each)
                case {"anyOf": [*members]}:
                    yield from self._expand(*members)
                case True:
                    yield {}
                case dict() as plain:
                    yield plain
                case _:
                    pass


def _lacks(one: JsonObject, other: JsonObject) -> bool:
    """Whether a value of one object may have members that only the other declares."""
    if is_object(other):
        return bool(find_properties(other).keys() - find_properties(one).keys())
    return is_anything(other) or other.get("type") == "object"


def _may_meet(one: JsonObject, other: JsonObject, count: int) -> bool:
    return count > MAX_UNION or not are_disjoint(one, other)


def _find_inner(rival: JsonObject, name: str | None) -> Iterator[JsonValue]:
    """Yield what a rival declares for a member: of that name, or of any name."""
    properties = find_properties(rival)
    more = rival.get("additionalProperties")
    if name in properties:
        yield properties[name]
    elif more is not None:
        yield more
    if name is None:
        yield from properties.values()
