"""The JSON Schema keywords: those that models enforce, those that only describe, and those that must not reach the generator."""

from __future__ import annotations

__all__ = [
    "CONSTRAINTS",
    "DESCRIPTIVE",
    "ENFORCED_FORMATS",
    "KEYWORDS_OF",
    "MERGEABLE",
    "STRUCTURAL",
    "UNENFORCED",
    "is_steering",
]

STRUCTURAL = frozenset(
    [
        "$defs",
        "$ref",
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "definitions",
        "enum",
        "items",
        "oneOf",
        "patternProperties",
        "prefixItems",
        "properties",
        "required",
        "type",
    ]
)
"""Keywords that decide which Python type is declared."""

CONSTRAINTS = frozenset(
    [
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "multipleOf",
        "pattern",
    ]
)
"""Keywords that narrow a type; the models check them."""

DESCRIPTIVE = frozenset(
    [
        "$anchor",
        "$comment",
        "$id",
        "$schema",
        "default",
        "deprecated",
        "description",
        "example",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
        "x-sensitive",
    ]
)
"""Keywords that do not constrain values. `description` becomes a docstring; `default` of a plain value becomes the field's.
`writeOnly` and `x-sensitive` say that a value is redacted in exported samples (`trellis audit export`)."""

UNENFORCED = frozenset(
    [
        "contains",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "maxContains",
        "maxProperties",
        "minContains",
        "minProperties",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
    ]
)
"""Keywords of JSON Schema that constrain values, and that no model checks."""

ENFORCED_FORMATS = frozenset(["date", "date-time", "time", "uuid"])
"""Formats with a Python type of their own; the others describe."""

MERGEABLE = STRUCTURAL | CONSTRAINTS

KEYWORDS_OF: dict[str, frozenset[str]] = {
    "array": frozenset(["items", "prefixItems", "additionalItems", "minItems", "maxItems"]),
    "boolean": frozenset(),
    "null": frozenset(),
    "number": frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    "object": frozenset(["properties", "required", "additionalProperties", "patternProperties"]),
    "string": frozenset(["minLength", "maxLength", "pattern", "format"]),
}
"""For each JSON type, the keywords that apply to its values only."""

_STEERING = frozenset(["customTypePath", "customBasePath"])


def is_steering(keyword: str) -> bool:
    """Whether a keyword tells the model generator what to import; such keywords are removed."""
    return keyword in _STEERING or keyword.startswith("x-python-")
