"""Random pairs of schemas, an old and a new one, and values that the old one's writers may send.

Everything is drawn from a seed with the raw schemas alone: nothing here knows how the comparison sees them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias, cast

from pydantic import JsonValue

__all__ = ["Pair", "draw_pair", "draw_values"]

JsonObject: TypeAlias = dict[str, JsonValue]

_NAMES: Final = ("a", "b", "c", "id", "kind")
_WORDS: Final = ("", "a", "b", "ab", "abc", "aa", "x1", "2026-11-23", "2026-11-23T08:30:00Z", "08:30:00Z")
_UUID: Final = "2a1b2c3d-0000-4000-8000-000000000000"
_NUMBERS: Final[tuple[int | float, ...]] = (-2, -1, 0, 1, 2, 3, 4, 6, 1.0, 0.5, 1.5, -0.5, 2**70)
_LARGE: Final = 2**53
_LIMITS: Final[tuple[int | float, ...]] = (-1, 0, 1, 2, 3, 0.5, 2.0)
_PATTERNS: Final = ("^a", "b", "^[a-z]+$", "^a+$", "^[ab]+$", "^[0-9]{1,2}$", "^(x|y)?a*$")
_FORMATS: Final = ("date-time", "date", "time", "uuid", "email")
_ODD: Final[tuple[JsonObject, ...]] = (
    {"minLength": 2},
    {"minimum": 1},
    {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
    {"type": "string", "not": {"const": "a"}},
    {"items": {"type": "string"}},
    {"required": ["a"]},
    {"allOf": [{"type": "object", "required": ["a"]}, {"type": "object", "properties": {"a": {"type": "integer"}}}]},
    {"allOf": [{"type": "string", "minLength": 1}, {"pattern": "^a"}]},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
    {"type": "object", "properties": {"a": {"type": "string"}}, "patternProperties": {"^x": {"type": "integer"}}},
    {"oneOf": [{"type": "number"}, {"type": "integer", "minimum": 1}]},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """Two schemas."""

    seed: int
    old: JsonValue
    new: JsonValue
    is_edited: bool
    """Whether one is the other with edits; else they have nothing to do with each other."""


def draw_pair(seed: int) -> Pair:
    """Return the pair of a seed: three of four are a schema and an edited copy, in either order."""
    rng = Random(seed)  # noqa: S311 - a test repeats its draws
    one = _draw_root(rng)
    if rng.random() >= 0.75:
        return Pair(seed, one, _draw_root(rng), is_edited=False)
    other = copy.deepcopy(one)
    for _ in range(rng.randint(1, 3)):
        other = _edit(rng, other)
    old, new = (one, other) if rng.random() < 0.5 else (other, one)
    return Pair(seed, old, new, is_edited=True)


def _draw_root(rng: Random) -> JsonValue:
    if rng.random() < 0.15:
        return _draw_recursive(rng)
    return _draw(rng, 3)


def _draw_recursive(rng: Random) -> JsonValue:
    node: JsonObject = {
        "type": "object",
        "properties": {"a": _draw(rng, 1), "b": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
    }
    link: JsonValue = {"$ref": "#/$defs/node"}
    properties = cast("JsonObject", node["properties"])
    match rng.randrange(5):
        case 0:
            properties["next"] = {"anyOf": [link, {"type": "null"}]}
        case 1:
            properties["next"] = link
        case 2:
            node["additionalProperties"] = link
        case 3:
            return {
                "$ref": "#/$defs/node",
                "$defs": {"node": {"anyOf": [_draw_leaf(rng), {"type": "array", "items": link}]}},
            }
        case _:
            node["additionalProperties"] = False
    if rng.random() < 0.5:
        node["required"] = ["a"]
    return {"$ref": "#/$defs/node", "$defs": {"node": node}}


def _draw(rng: Random, depth: int) -> JsonValue:
    kind = rng.randrange(10)
    if depth <= 0 or kind < 2:
        return _draw_leaf(rng)
    match kind:
        case 2 | 3 | 4 | 5:
            return _draw_object(rng, depth)
        case 6:
            return _draw_list(rng, depth)
        case 7:
            return {"type": "object", "additionalProperties": _draw(rng, depth - 1)}
        case 8:
            return _draw_union(rng, depth)
        case _:
            return copy.deepcopy(rng.choice(_ODD))


def _draw_object(rng: Random, depth: int) -> JsonObject:
    names = rng.sample(_NAMES, rng.randint(0, 3))
    schema: JsonObject = {"type": "object", "properties": {name: _draw(rng, depth - 1) for name in names}}
    required: list[JsonValue] = [name for name in names if rng.random() < 0.5]
    if required:
        schema["required"] = required
    match rng.randrange(6):
        case 0 | 1:
            schema["additionalProperties"] = False
        case 2:
            schema["additionalProperties"] = _draw(rng, depth - 2)
        case _:
            pass
    return schema


def _draw_list(rng: Random, depth: int) -> JsonObject:
    if rng.random() < 0.3:
        places = [_draw(rng, depth - 1) for _ in range(rng.randint(1, 2))]
        return {"type": "array", "prefixItems": places, "minItems": len(places), "items": False}
    schema: JsonObject = {"type": "array", "items": _draw(rng, depth - 1)}
    for keyword in ("minItems", "maxItems"):
        if rng.random() < 0.25:
            schema[keyword] = rng.randint(0, 3)
    return schema


def _draw_union(rng: Random, depth: int) -> JsonObject:
    if rng.random() < 0.4:
        tags = rng.sample(["a", "b", "c"], rng.randint(1, 3))
        members = [_draw_object(rng, depth) for _ in tags]
        for member, tag in zip(members, tags, strict=True):
            cast("JsonObject", member["properties"])["kind"] = {"const": tag}
            required = cast("list[JsonValue]", member.setdefault("required", list[JsonValue]()))
            if "kind" not in required:
                required.append("kind")
        return {"oneOf": list[JsonValue](members)}
    return {rng.choice(["anyOf", "oneOf"]): [_draw(rng, depth - 1) for _ in range(rng.randint(1, 3))]}


def _draw_leaf(rng: Random) -> JsonValue:
    match rng.randrange(14):
        case 0:
            return {"type": "boolean"}
        case 1:
            return {"type": "null"}
        case 2:
            plain: list[JsonValue] = [True, False, {}]
            return rng.choice(plain)
        case 3 | 4:
            return _with_limits(rng, {"type": "integer"})
        case 5 | 6:
            return _with_limits(rng, {"type": "number"})
        case 7:
            return {"enum": [_draw_constant(rng) for _ in range(rng.randint(1, 3))]}
        case 8:
            return {"const": _draw_constant(rng)}
        case 9:
            return {"type": [rng.choice(["string", "integer", "boolean"]), "null"]}
        case 10:
            return {"type": "string", "format": rng.choice(_FORMATS)}
        case _:
            return _with_lengths(rng, {"type": "string"})


def _with_limits(rng: Random, schema: JsonObject) -> JsonObject:
    for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if rng.random() < 0.2:
            schema[keyword] = rng.choice(_LIMITS)
    if rng.random() < 0.15:
        schema["multipleOf"] = rng.choice([1, 2, 3, 0.5, 1.5])
    return schema


def _with_lengths(rng: Random, schema: JsonObject) -> JsonObject:
    for keyword in ("minLength", "maxLength"):
        if rng.random() < 0.25:
            schema[keyword] = rng.randint(0, 3)
    if rng.random() < 0.25:
        schema["pattern"] = rng.choice(_PATTERNS)
    return schema


def _draw_constant(rng: Random) -> JsonValue:
    choices: list[JsonValue] = [*_WORDS[:6], *_NUMBERS, True, False, None, [1], {"a": 1}]
    return rng.choice(choices)


# --- edits -------------------------------------------------------------------------------------------------------


def _edit(rng: Random, schema: JsonValue) -> JsonValue:
    """Return a schema with one edit, at any of the schemas inside it."""
    nodes = [node for node in _find_nodes(schema) if isinstance(node, dict)]
    if not nodes:
        return _draw(rng, 2)
    node = rng.choice(nodes)
    match rng.randrange(9):
        case 0 | 1 | 2 if isinstance(node.get("properties"), dict):
            _edit_members(rng, node)
        case 3 if node.get("type") == "object":
            node["additionalProperties"] = rng.random() < 0.5
        case 4 if "$ref" not in node and "properties" not in node:
            old = dict(node)
            node.clear()
            node["anyOf"] = [old, {"type": "null"}]
        case 5:
            _edit_limits(rng, node)
        case 6:
            _edit_choices(rng, node)
        case 7 if "$ref" not in node and "$defs" not in node:
            new = _draw(rng, 1)
            node.clear()
            node.update(new if isinstance(new, dict) else {"enum": [1]})
        case _:
            for keyword in rng.sample(sorted(node), min(1, len(node))):
                if keyword not in ("$ref", "$defs", "type", "properties"):
                    del node[keyword]
    return schema


def _find_nodes(schema: JsonValue) -> list[JsonValue]:
    found = [schema]
    if not isinstance(schema, dict):
        return found
    for keyword, value in schema.items():
        if keyword in ("properties", "$defs", "patternProperties") and isinstance(value, dict):
            found += [inner for each in value.values() for inner in _find_nodes(each)]
        elif keyword in ("items", "additionalProperties"):
            found += _find_nodes(value)
        elif keyword in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
            found += [inner for each in value for inner in _find_nodes(each)]
    return found


def _edit_members(rng: Random, node: JsonObject) -> None:
    properties = cast("JsonObject", node["properties"])
    required = cast("list[JsonValue]", node.setdefault("required", list[JsonValue]()))
    name = rng.choice(_NAMES)
    match rng.randrange(4):
        case 0:
            properties.setdefault(name, _draw(rng, 1))
        case 1 if properties:
            gone = rng.choice(sorted(properties))
            del properties[gone]
            if gone in required:
                required.remove(gone)
        case 2 if properties:
            known = rng.choice(sorted(properties))
            if known in required:
                required.remove(known)
            else:
                required.append(known)
        case _:
            properties.setdefault(name, _draw(rng, 1))
            if name not in required:
                required.append(name)


def _edit_limits(rng: Random, node: JsonObject) -> None:
    keywords = [
        each for each in node if each.startswith(("min", "max", "exclusive")) and each != "maxProperties"
    ]
    kind = node.get("type")
    if keywords:
        keyword = rng.choice(sorted(keywords))
        limit = node[keyword]
        if isinstance(limit, int | float):
            moved = limit + rng.choice([-1, 1])
            node[keyword] = max(0, moved) if keyword.endswith(("Length", "Items")) else moved
    elif kind == "string":
        _with_lengths(rng, node)
    elif kind in ("integer", "number"):
        node["type"] = rng.choice(["integer", "number"])
        _with_limits(rng, node)


def _edit_choices(rng: Random, node: JsonObject) -> None:
    for keyword in ("anyOf", "oneOf", "enum"):
        members = node.get(keyword)
        if not isinstance(members, list):
            continue
        if len(members) > 1 and rng.random() < 0.5:
            members.pop(rng.randrange(len(members)))
        else:
            members.append(_draw_constant(rng) if keyword == "enum" else _draw(rng, 1))


# --- values ------------------------------------------------------------------------------------------------------


def draw_values(pair: Pair, count: int) -> list[JsonValue]:
    """Return values made for the old schema, some for the new one, and some of those with a member dropped or replaced."""
    rng = Random(pair.seed + 1_000_000_007)  # noqa: S311 - as above
    values: list[JsonValue] = []
    for _ in range(count):
        schema = pair.old if rng.random() < 0.7 else pair.new
        value = _make(rng, schema, schema, 6)
        if isinstance(value, dict) and value and rng.random() < 0.3:
            value = _disturb(rng, value)
        values.append(value)
    return values


def _disturb(rng: Random, value: JsonObject) -> JsonObject:
    name = rng.choice(sorted(value))
    rest = {key: each for key, each in value.items() if key != name}
    match rng.randrange(3):
        case 0:
            return rest
        case 1:
            return {**rest, name: _make_anything(rng)}
        case _:
            return {**value, rng.choice([*_NAMES, "zz"]): _make_anything(rng)}


def _make_anything(rng: Random) -> JsonValue:
    choices: list[JsonValue] = [
        None,
        True,
        False,
        *_WORDS,
        *_NUMBERS,
        [],
        [1],
        {},
        {"a": 1},
        {"zz": "a"},
        ["a", "b"],
    ]
    return rng.choice(choices)


def _make(rng: Random, schema: JsonValue, root: JsonValue, depth: int) -> JsonValue:
    """Return a value that is likely to match a schema."""
    if not isinstance(schema, dict) or depth <= 0:
        return _make_anything(rng)
    match schema:
        case {"$ref": str(reference)}:
            target = root
            for step in reference.split("/")[1:]:
                target = cast("JsonObject", target)[step]
            return _make(rng, target, root, depth - 1)
        case {"const": value}:
            return value
        case {"enum": [*values]}:
            return rng.choice(values)
        case {"allOf": [*members]}:
            parts = [_make(rng, member, root, depth - 1) for member in members]
            objects = [part for part in parts if isinstance(part, dict)]
            return {key: each for part in objects for key, each in part.items()} if objects else parts[0]
        case {"anyOf": [*members]} | {"oneOf": [*members]}:
            return _make(rng, rng.choice(members), root, depth - 1)
        case _:
            kind = schema.get("type")
            return _make_of_kind(
                rng, rng.choice(kind) if isinstance(kind, list) else kind, schema, root, depth
            )


def _make_of_kind(rng: Random, kind: JsonValue, schema: JsonObject, root: JsonValue, depth: int) -> JsonValue:
    match kind:
        case "null":
            return None
        case "boolean":
            return rng.random() < 0.5
        case "integer" | "number":
            limits = [each for key, each in schema.items() if key != "type" and isinstance(each, int | float)]
            base = rng.choice([*_NUMBERS, *limits])
            # A float holds the large number and none of its neighbours.
            moved = base if abs(base) > _LARGE else base + rng.choice([0, 0, 1, -1, 0.5])
            return int(moved) if kind == "integer" and rng.random() < 0.8 else moved
        case "string":
            return _make_text(rng, schema)
        case "array":
            return _make_list(rng, schema, root, depth)
        case "object":
            return _make_object(rng, schema, root, depth)
        case _:
            return _make_anything(rng)


def _make_text(rng: Random, schema: JsonObject) -> str:
    samples = {"date": _WORDS[7], "date-time": _WORDS[8], "time": _WORDS[9], "uuid": _UUID}
    form = schema.get("format")
    if isinstance(form, str) and form in samples and rng.random() < 0.9:
        return samples[form]
    text = rng.choice(["", "a", "b", "aa", "ab", "ba", "xa", "5", "12", "é", "A", *_WORDS])
    low = schema.get("minLength")
    return text.ljust(low, "a") if isinstance(low, int) and rng.random() < 0.8 else text


def _make_list(rng: Random, schema: JsonObject, root: JsonValue, depth: int) -> JsonValue:
    prefix = schema.get("prefixItems")
    if isinstance(prefix, list):
        return [_make(rng, each, root, depth - 1) for each in prefix]
    low = schema.get("minItems", 0)
    high = schema.get("maxItems", 3)
    count = rng.randint(0, 3) if depth > 2 else 0
    if isinstance(low, int) and isinstance(high, int) and rng.random() < 0.9:
        count = max(low, min(count, high))
    return [_make(rng, schema.get("items", True), root, depth - 1) for _ in range(count)]


def _make_object(rng: Random, schema: JsonObject, root: JsonValue, depth: int) -> JsonObject:
    properties = schema.get("properties")
    required = schema.get("required")
    needed = cast("list[str]", required if isinstance(required, list) else [])
    value: JsonObject = {}
    for name, each in (properties if isinstance(properties, dict) else {}).items():
        if name in needed or (depth > 2 and rng.random() < 0.6):
            value[name] = _make(rng, each, root, depth - 1)
    more = schema.get("additionalProperties")
    if more is not False and rng.random() < 0.4 and depth > 2:
        value[rng.choice([*_NAMES, "zz"])] = _make(rng, more, root, depth - 1)
    if more is None and "properties" not in schema and "patternProperties" not in schema:
        value |= dict.fromkeys(needed, 1)
    return copy.deepcopy(value)
