"""The constraints of a schema that its model does not check: each is reported with its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.problems import Pointer, Problem, Severity
from trellis_codegen.schemas.enum_filter import is_allowed
from trellis_codegen.schemas.keywords import (
    CONSTRAINTS,
    DESCRIPTIVE,
    ENFORCED_FORMATS,
    KEYWORDS_OF,
    MERGEABLE,
    STRUCTURAL,
    is_steering,
)
from trellis_codegen.schemas.normalizing import Loss, normalize
from trellis_codegen.schemas.plain import ALL_NAMES, is_tuple

__all__ = ["find_unenforced"]

JsonObject: TypeAlias = dict[str, JsonValue]


def find_unenforced(
    node: JsonObject, written_out: JsonValue, pointer: Pointer, *, joined: bool
) -> Iterator[Problem]:
    """Yield a warning for each constraint of one schema that its model does not check.

    `written_out` is the schema without references. A schema that is `joined` is merged into the one around it, which
    reports the losses of the merge.
    """
    for keyword in node:
        if is_steering(keyword):
            yield _warning(
                (*pointer, keyword), f'"{keyword}" would control the code generator and is ignored'
            )
        elif keyword not in STRUCTURAL | CONSTRAINTS | DESCRIPTIVE:
            yield _warning((*pointer, keyword), f'"{keyword}" is not enforced by the models')
    losses: list[Loss] = []
    normalize(written_out, losses)
    for keyword, why in dict(losses).items():
        if not joined or keyword in ("allOf", "anyOf", "oneOf"):
            place = (*pointer, keyword) if keyword in node else pointer
            yield _warning(place, f'"{keyword}" is not fully enforced: {why}')
    for keyword, what in (*_texts(node), *_members(node), *_positions(node), *_default(node)):
        yield _warning((*pointer, keyword), what)


def _texts(node: JsonObject) -> Iterator[tuple[str, str]]:
    name = node.get("format")
    if not isinstance(name, str) or "string" not in _kinds(node):
        return
    if name not in ENFORCED_FORMATS:
        yield "format", f'the format "{name}" is not enforced by the models'
        return
    for keyword in ("minLength", "maxLength", "pattern"):
        if keyword in node:
            yield keyword, f'"{keyword}" is not enforced together with the format "{name}"'


def _members(node: JsonObject) -> Iterator[tuple[str, str]]:
    patterns = node.get("patternProperties")
    if not isinstance(patterns, dict) or not patterns:
        if "$ref" in node and node.keys() & (MERGEABLE - {"$ref", "$defs", "definitions"}):
            yield "$ref", "keywords next to a recursive reference are not enforced"
        return
    universal = len(patterns) == 1 and next(iter(patterns)) in ALL_NAMES
    closed = len(patterns) == 1 and node.get("additionalProperties") is False
    if "properties" in node or "required" in node or not (universal or closed):
        yield (
            "patternProperties",
            '"patternProperties" is enforced only without "properties", with one pattern that applies to all names',
        )


def _positions(node: JsonObject) -> Iterator[tuple[str, str]]:
    items = node.get("items")
    schema = node
    keyword = "prefixItems"
    if isinstance(items, list):
        keyword = "items"
        schema = {**node, "prefixItems": items, "items": node.get("additionalItems", True)}
    if isinstance(schema.get("prefixItems"), list) and not is_tuple(schema):
        yield keyword, "positions are enforced only if minItems and maxItems fix the length of the list"
    elif keyword == "prefixItems" and "additionalItems" in node:
        yield "additionalItems", '"additionalItems" is not enforced by the models'


def _default(node: JsonObject) -> Iterator[tuple[str, str]]:
    if "default" in node and "$ref" not in node and not is_allowed(node["default"], node):
        yield "default", "the default does not match its own schema and is ignored"


def _kinds(node: JsonObject) -> list[JsonValue]:
    kinds = node.get("type", "string" if node.keys() & KEYWORDS_OF["string"] else None)
    return kinds if isinstance(kinds, list) else [kinds]


def _warning(pointer: Pointer, what: str) -> Problem:
    return Problem(pointer=pointer, what=what, on_key=True, severity=Severity.WARNING)
