"""The JSON Schema keywords: which the models enforce, which only describe, and which must never reach the generator."""

from __future__ import annotations

__all__ = ["CONSTRAINTS", "DESCRIPTIVE", "ENFORCED_FORMATS", "MERGEABLE", "STRUCTURAL", "is_steering"]

STRUCTURAL = frozenset(
    "$ref $defs definitions type properties required additionalProperties patternProperties items prefixItems anyOf oneOf"
    " allOf enum const".split(),
)
"""Keywords that decide which Python type is declared."""

CONSTRAINTS = frozenset(
    "minLength maxLength pattern minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minItems maxItems format".split(),
)
"""Keywords that narrow a type; the models check them."""

DESCRIPTIVE = frozenset(
    "title description $comment $schema $id $anchor examples example default deprecated readOnly writeOnly"
    " contentEncoding contentMediaType".split(),
)
"""Keywords that forbid nothing. `description` becomes a docstring; `default` of a plain value becomes the field's."""

ENFORCED_FORMATS = frozenset(["date", "date-time", "uuid"])
"""Formats with a Python type of their own; the others describe."""

MERGEABLE = STRUCTURAL | CONSTRAINTS

_STEERING = frozenset(["customTypePath", "customBasePath"])


def is_steering(keyword: str) -> bool:
    """Whether a keyword tells the model generator what to import; such a keyword is never passed on."""
    return keyword in _STEERING or keyword.startswith("x-python-")
