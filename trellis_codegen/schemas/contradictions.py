"""Finds keywords of a schema that contradict each other, or that say nothing next to each other: mistakes, as a rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.problems import Pointer, Problem, Severity, closest
from trellis_codegen.rule_ids import Rule
from trellis_codegen.schemas.checking import walk
from trellis_codegen.schemas.enum_filter import is_allowed
from trellis_codegen.schemas.keywords import KEYWORDS_OF

__all__ = ["find_contradictions"]

JsonObject: TypeAlias = dict[str, JsonValue]
_Finding: TypeAlias = tuple[str, str, str | None]
"""The keyword, what is wrong with it, and a hint."""

_LIMITS = (
    *product(("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
)


def find_contradictions(schema: JsonValue, pointer: Pointer) -> Iterator[Problem]:
    """Yield a warning for each mistake in a named schema, or in a schema inside it."""
    for node, place, _ in walk(schema, pointer):
        if not isinstance(node, dict):
            continue
        for finding in (_find_limits, _find_constants, _find_members, _find_foreign):
            for keyword, what, hint in finding(node):
                yield Problem(
                    pointer=(*place, keyword),
                    rule=Rule.DOUBTFUL_SCHEMA,
                    what=what,
                    hint=hint,
                    on_key=True,
                    severity=Severity.WARNING,
                )


def _find_limits(node: JsonObject) -> Iterator[_Finding]:
    for lower, upper in _LIMITS:
        low, high = node.get(lower), node.get(upper)
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            continue
        is_open = "exclusive" in f"{lower}{upper}"
        if low > high or (is_open and low == high):
            yield upper, f'no value matches: "{lower}" is {low}, and "{upper}" is {high}', None


def _find_constants(node: JsonObject) -> Iterator[_Finding]:
    for keyword in ("enum", "const"):
        if keyword not in node:
            continue
        given = node[keyword]
        values = given if keyword == "enum" and isinstance(given, list) else [given]
        rest = {name: each for name, each in node.items() if name != keyword}
        refused = [value for value in values if not is_allowed(value, rest)]
        kind = node.get("type")
        hint = f'write "type": ["{kind}", "null"]' if None in refused and isinstance(kind, str) else None
        if len(refused) == len(values):
            yield keyword, f'no value matches: the keywords next to "{keyword}" refuse what it lists', hint
        elif refused:
            shown = json.dumps(refused[0], ensure_ascii=False)
            yield keyword, f'{shown} never matches: the keywords next to "{keyword}" refuse it', hint


def _find_members(node: JsonObject) -> Iterator[_Finding]:
    properties, required = node.get("properties"), node.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return
    is_closed = node.get("additionalProperties") is False and "patternProperties" not in node
    optional = [name for name in properties if name not in required]
    for name in required:
        if not isinstance(name, str) or name in properties:
            continue
        meant = closest(name, optional)
        if is_closed or meant:
            what = f'"properties" does not declare "{name}"'
            end = ', and "additionalProperties" forbids it: no value matches' if is_closed else ""
            yield "required", f"{what}{end}", f'did you mean "{meant}"?' if meant else None


def _find_foreign(node: JsonObject) -> Iterator[_Finding]:
    """Find keywords for values of a type that the schema does not allow. Numbers have formats of OpenAPI, such as `int64`."""
    if (stated := node.get("type")) is None:
        return
    kinds = [str(kind) for kind in (stated if isinstance(stated, list) else [stated])]
    own = {keyword for kind in kinds for keyword in KEYWORDS_OF["number" if kind == "integer" else kind]}
    foreign = {keyword for keywords in KEYWORDS_OF.values() for keyword in keywords} - own - {"format"}
    for keyword in node:
        if keyword in foreign:
            yield keyword, f'"{keyword}" says nothing about values of the type {" or ".join(kinds)}', None
