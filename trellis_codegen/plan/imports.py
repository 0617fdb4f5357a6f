"""Which import a name in an annotation needs."""

from __future__ import annotations

import ast
from collections.abc import Iterable

__all__ = ["Imports", "imports_of"]

Imports = tuple[tuple[str, tuple[str, ...]], ...]
"""Modules with the names imported from each, sorted."""

_HOMES = {
    "AwareDatetime": "pydantic",
    "AwareTime": "trellis_nats.json_types",
    "Exact": "trellis_nats.json_types",
    "Field": "pydantic",
    "Integer": "trellis_nats.json_types",
    "JsonValue": "pydantic",
    "NotNull": "trellis_nats.json_types",
    "OneOf": "trellis_nats.json_types",
    "StringConstraints": "pydantic",
    "UUID": "uuid",
    "date": "datetime",
    "Annotated": "typing",
    "Literal": "typing",
    "TypeAlias": "typing",
}


def imports_of(annotations: Iterable[str]) -> Imports:
    """Return the imports that the annotations need from outside the package."""
    names = {
        node.id
        for annotation in annotations
        for node in ast.walk(ast.parse(annotation, mode="eval"))
        if isinstance(node, ast.Name) and node.id in _HOMES
    }
    modules: dict[str, list[str]] = {}
    for name in sorted(names):
        modules.setdefault(_HOMES[name], []).append(name)
    return tuple((module, tuple(modules[module])) for module in sorted(modules))
