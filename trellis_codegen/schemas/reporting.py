"""Reports what a valid schema says and models do not check, keyword by keyword.

What is lost because schemas are merged, or have no Python type, is reported where it is lost: see `splitting`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.problems import Pointer, Problem, Severity, did_you_mean
from trellis_codegen.rule_ids import Rule
from trellis_codegen.schemas.checking import walk
from trellis_codegen.schemas.enum_filter import is_allowed
from trellis_codegen.schemas.keywords import (
    CONSTRAINTS,
    DESCRIPTIVE,
    ENFORCED_FORMATS,
    KEYWORDS_OF,
    STRUCTURAL,
    UNENFORCED,
    is_steering,
)

__all__ = ["find_unenforced"]

JsonObject: TypeAlias = dict[str, JsonValue]

_FORMATS = {"datetime": "date-time", "timestamp": "date-time", "guid": "uuid"}
"""What other languages call a format, without case, `-` and `_`."""


def find_unenforced(schema: JsonValue, pointer: Pointer) -> Iterator[Problem]:
    """Yield a warning for each keyword of a named schema, or of a schema inside it, that no model checks."""
    for node, place, _ in walk(schema, pointer):
        if isinstance(node, dict):
            for rule, keyword, what in _find_unchecked(node):
                yield Problem(
                    pointer=(*place, keyword),
                    rule=rule,
                    what=what,
                    hint=_suggest_keyword(keyword, node),
                    on_key=True,
                    severity=Severity.WARNING,
                )


def _find_unchecked(node: JsonObject) -> Iterator[tuple[Rule, str, str]]:
    for keyword in node:
        if is_steering(keyword):
            yield (
                Rule.UNENFORCED_KEYWORD,
                keyword,
                f'"{keyword}" would control the code generator and is ignored',
            )
        elif keyword not in STRUCTURAL | CONSTRAINTS | DESCRIPTIVE:
            yield Rule.UNENFORCED_KEYWORD, keyword, f'"{keyword}" is not enforced by the models'
    name = node.get("format")
    if isinstance(name, str) and name not in ENFORCED_FORMATS and "string" in _kinds(node):
        yield Rule.UNENFORCED_KEYWORD, "format", f'the format "{name}" is not enforced by the models'
    if "prefixItems" in node and "additionalItems" in node:
        yield Rule.UNENFORCED_KEYWORD, "additionalItems", '"additionalItems" is not enforced by the models'
    if "default" in node and "$ref" not in node and not is_allowed(node["default"], node):
        yield Rule.IGNORED_DEFAULT, "default", "the default does not match its own schema and is ignored"


def _suggest_keyword(keyword: str, node: JsonObject) -> str | None:
    """Return what to write for a keyword of OpenAPI, for a misspelt one, and for a format of other languages."""
    if keyword == "format":
        meant = _FORMATS.get(str(node[keyword]).casefold().replace("-", "").replace("_", ""))
        return f'did you mean "{meant}"?' if meant else None
    known = STRUCTURAL | CONSTRAINTS | DESCRIPTIVE
    if (keyword, node[keyword]) == ("nullable", True) and isinstance(kind := node.get("type"), str):
        return f'write "type": ["{kind}", "null"]'
    if keyword in known | UNENFORCED or keyword.startswith("x-"):
        return None
    return did_you_mean(keyword, known)


def _kinds(node: JsonObject) -> list[JsonValue]:
    kinds = node.get("type", "string" if node.keys() & KEYWORDS_OF["string"] else None)
    return kinds if isinstance(kinds, list) else [kinds]
