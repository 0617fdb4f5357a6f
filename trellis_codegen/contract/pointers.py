"""Resolves a JSON pointer in a schema: the types that a value there may have, and whether it is required.

Where a schema has alternatives, a pointer must be valid in each of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote

from pydantic import JsonValue

from trellis_codegen.problems import Pointer

__all__ = [
    "Place",
    "canonical_reference",
    "find_kind",
    "follow",
    "is_pointer",
    "list_pointers",
    "look_up",
    "resolve",
    "split_pointer",
    "split_reference",
]

JsonObject: TypeAlias = dict[str, JsonValue]

_SYNTAX = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_INDEX = re.compile(r"0|[1-9][0-9]*")
_KINDS = frozenset(["array", "boolean", "integer", "null", "number", "object", "string"])
_MAX_DEPTH = 64
_MOST_SUGGESTED = 200
_DEPTH_SUGGESTED = 6


@dataclass(frozen=True, slots=True)
class Place:
    """What a pointer leads to."""

    kinds: frozenset[str]
    """The JSON types that values there may have; all of them where the schema does not say."""
    required: bool
    """Whether every value of the schema has a value there."""


def is_pointer(text: str) -> bool:
    """Whether a text is a JSON pointer to something inside a value: `~` stands only in `~0` and `~1`."""
    return _SYNTAX.fullmatch(text) is not None


def split_pointer(pointer: str) -> tuple[str, ...]:
    """Return the names and numbers that a pointer is made of."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def resolve(root: JsonValue, reference: str) -> JsonObject | bool | None:
    """Return the schema that a local reference points to, or None when there is none."""
    return _follow(root, reference)[1]


def follow(root: JsonValue, reference: str) -> tuple[JsonObject | bool | None, Pointer]:
    """Return the schema that a local reference points to, with its place in `root`."""
    steps, target = _follow(root, reference)
    place: list[str | int] = []
    for step in steps:
        place.append(int(step) if isinstance(_descend(root, steps[: len(place)]), list) else step)
    return target, tuple(place)


def split_reference(reference: str) -> tuple[str, ...]:
    """Return the names and numbers that a canonical reference is made of."""
    return split_pointer(unquote(reference.removeprefix("#")))


def canonical_reference(root: JsonValue, reference: str) -> str:
    """Return a local reference in the one form that all references to its target share."""
    steps, target = _follow(root, reference)
    if target is None:
        return reference
    return "".join(["#", *(f"/{_escape(step)}" for step in steps)])


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1").replace("%", "%25")


def _follow(root: JsonValue, reference: str) -> tuple[tuple[str, ...], JsonObject | bool | None]:
    """Return the names and numbers that a reference is made of, and its target.

    A reference is a part of a URI: it is percent-encoded. Some tools forget that, so its own text is tried too.
    """
    if not reference.startswith("#"):
        return (), None
    text = reference.removeprefix("#")
    steps: tuple[str, ...] = ()
    for pointer in dict.fromkeys([unquote(text), text]):
        steps = split_pointer(pointer)
        target = _descend(root, steps)
        if isinstance(target, dict | bool):
            return steps, target
    return steps, None


def _descend(value: JsonValue, steps: tuple[str, ...]) -> JsonValue:
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def look_up(schema: JsonValue, pointer: str) -> Place | None:
    """Return what `pointer` leads to in values of `schema`, or None when the schema has nothing there."""
    return _Search(schema).find(schema, split_pointer(pointer), _MAX_DEPTH)


def list_pointers(schema: JsonValue) -> list[str]:
    """Return the pointers to members that a schema declares, the shortest first, for suggestions; not all of a large schema."""
    found: dict[str, None] = {}
    seen: set[tuple[str, int]] = set()
    waiting: list[tuple[str, JsonValue, int]] = [("", schema, 0)]
    while waiting and len(found) < _MOST_SUGGESTED:
        at, node, depth = waiting.pop(0)
        reference = node.get("$ref") if isinstance(node, dict) else None
        node = resolve(schema, reference) if isinstance(reference, str) else node
        if not isinstance(node, dict) or depth > _DEPTH_SUGGESTED or (at, id(node)) in seen:
            continue
        seen.add((at, id(node)))
        for keyword in ("allOf", "anyOf", "oneOf"):
            parts = node.get(keyword)
            waiting += [(at, part, depth + 1) for part in (parts if isinstance(parts, list) else [])]
        properties = node.get("properties")
        for name, member in (properties if isinstance(properties, dict) else {}).items():
            pointer = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
            found[pointer] = None
            waiting.append((pointer, member, depth + 1))
    return [*found]


class _Search:
    """One walk through one schema; its depth is bounded, because a schema may refer to itself."""

    def __init__(self, root: JsonValue) -> None:
        self._root = root
        self._found: dict[tuple[int, tuple[str, ...]], Place | None] = {}

    def find(self, node: JsonValue, steps: tuple[str, ...], depth: int) -> Place | None:
        """Look once from each schema for what is left of the pointer; a way that leads back to itself adds nothing."""
        node = self._target(node, depth)
        if not isinstance(node, dict):
            return self._search(node, steps, depth)
        place = (id(node), steps)
        if place not in self._found:
            self._found[place] = None
            self._found[place] = self._search(node, steps, depth)
        return self._found[place]

    def _search(self, node: JsonValue, steps: tuple[str, ...], depth: int) -> Place | None:
        if depth <= 0 or not isinstance(node, dict):
            return None if depth <= 0 or node is False or steps else Place(_KINDS, required=True)
        if not steps:
            return Place(self._kinds(node, depth), required=True)
        branches = [self._union(node, keyword, steps, depth - 1) for keyword in ("anyOf", "oneOf")]
        parts = node.get("allOf")
        branches += [self.find(part, steps, depth - 1) for part in (parts if isinstance(parts, list) else [])]
        found = [member for member in (self._step(node, steps, depth - 1), *branches) if member is not None]
        if not found:
            return None
        kinds = _KINDS.intersection(*(place.kinds for place in found))
        return Place(kinds, required=any(place.required for place in found))

    def _union(self, node: JsonObject, keyword: str, steps: tuple[str, ...], depth: int) -> Place | None:
        members = node.get(keyword)
        if not isinstance(members, list) or not members:
            return None
        found = [self.find(member, steps, depth) for member in members]
        places = [place for place in found if place is not None]
        if len(places) < len(members):
            return None
        kinds = frozenset[str]().union(*(place.kinds for place in places))
        return Place(kinds, required=all(place.required for place in places))

    def _step(self, node: JsonObject, steps: tuple[str, ...], depth: int) -> Place | None:
        step, rest = steps[0], steps[1:]
        if self._is_array(node) and _INDEX.fullmatch(step):
            place = self.find(_element(node, int(step)), rest, depth)
            required = int(step) < _count(node.get("minItems"))
        else:
            place = self.find(_member(node, step), rest, depth)
            names = node.get("required")
            required = isinstance(names, list) and step in names
        if place is None:
            return None
        required = required and node.get("type") in ("object", "array")
        return Place(place.kinds, required=place.required and required)

    def _is_array(self, node: JsonObject) -> bool:
        return node.get("type") == "array" or ("properties" not in node and "items" in node)

    def _kinds(self, node: JsonObject, depth: int) -> frozenset[str]:
        kinds = _KINDS
        declared = node.get("type")
        if declared is not None:
            kinds &= {str(kind) for kind in (declared if isinstance(declared, list) else [declared])}
        values = [node["const"]] if "const" in node else node.get("enum")
        if isinstance(values, list):
            kinds = _narrowed(kinds, {find_kind(value) for value in values})
        for keyword in ("anyOf", "oneOf"):
            members = node.get(keyword)
            if isinstance(members, list) and members:
                inside = [self.find(member, (), depth - 1) for member in members]
                found = frozenset[str]().union(*(place.kinds for place in inside if place is not None))
                kinds = _narrowed(kinds, found)
        parts = node.get("allOf")
        for part in parts if isinstance(parts, list) else []:
            place = self.find(part, (), depth - 1)
            kinds = _narrowed(kinds, place.kinds if place else frozenset())
        return kinds

    def _target(self, node: JsonValue, depth: int) -> JsonValue:
        """Follow local references; a reference without a target matches nothing."""
        for _ in range(depth):
            if not isinstance(node, dict) or not isinstance(reference := node.get("$ref"), str):
                return node
            target = resolve(self._root, reference)
            node = False if target is None else target
        return False


def _narrowed(kinds: frozenset[str], others: frozenset[str] | set[str]) -> frozenset[str]:
    """Return the kinds that both sides allow; every integer is a number."""
    result = kinds & others
    if ("integer" in kinds and "number" in others) or ("number" in kinds and "integer" in others):
        result |= {"integer"}
    return frozenset(result)


def _member(node: JsonObject, name: str) -> JsonValue:
    properties, patterns = node.get("properties"), node.get("patternProperties")
    if isinstance(properties, dict) and name in properties:
        return properties[name]
    if isinstance(patterns, dict) and patterns:
        # Which pattern a name falls under is not computed: one that all names fall under is all there is in practice.
        return next(iter(patterns.values())) if len(patterns) == 1 else False
    more = node.get("additionalProperties", False)
    return more if isinstance(more, dict) else False


def _element(node: JsonObject, index: int) -> JsonValue:
    items = node.get("items", False)
    prefix = node.get("prefixItems", items if isinstance(items, list) else [])
    if isinstance(prefix, list) and index < len(prefix):
        return prefix[index]
    more = node.get("additionalItems", False) if isinstance(items, list) else items
    return more if isinstance(more, dict) else False


def _count(value: JsonValue) -> int:
    return int(value) if isinstance(value, int | float) else 0


def find_kind(value: JsonValue) -> str:
    """Return the JSON type of a value; a whole number is an integer, however it is written."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
