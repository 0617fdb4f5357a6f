"""Names for the members of unions in validation errors.

pydantic names a member of a union by its own validator: `function-before[_whole(), int]`. Here it is named by its JSON type
or by its class, in angle brackets, so that the name can't be taken for a member of the value: `amount.<integer>`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

__all__ = ["KEY_STEP", "LABEL_UNIONS", "label_of", "label_unions"]

Node: TypeAlias = dict[str, Any]  # a core schema, whose kinds pydantic does not tell apart

KEY_STEP: Final = "[key]"
"""How pydantic marks an error that is about the name of a member."""

_WORDS: Final = {
    "bool": "boolean",
    "date": "date",
    "datetime": "date-time",
    "dict": "object",
    "float": "number",
    "int": "integer",
    "list": "array",
    "literal": "enum",
    "none": "null",
    "str": "string",
    "time": "time",
    "tuple": "array",
    "uuid": "uuid",
}
"""The words of JSON Schema for pydantic's kinds."""


def label_unions(schema: CoreSchema, handler: GetCoreSchemaHandler) -> None:
    """Name the members of every union in a schema; models inside it name their own."""
    for union in _unions(cast("Node", schema)):
        union["choices"] = [
            choice if isinstance(choice, tuple) else (choice, f"<{_word(choice, handler)}>")
            for choice in union["choices"]
        ]


def label_of(step: str | int) -> str | None:
    """Return the name of a union's member, if that is what a step of an error's location is."""
    return step[1:-1] if isinstance(step, str) and step.startswith("<") and step.endswith(">") else None


def _unions(node: object) -> Iterator[Node]:
    if isinstance(node, list | tuple):
        for child in cast("list[object]", node):
            yield from _unions(child)
    elif isinstance(node, dict):
        members = cast("Node", node)
        if members.get("type") == "union":
            yield members
        for key, child in members.items():
            if key != "metadata":
                yield from _unions(child)


def _word(node: Node, handler: GetCoreSchemaHandler) -> str:
    kind: str = node["type"]
    if kind == "definition-ref":
        reference: str = node["schema_ref"]
        try:
            target = handler.resolve_ref_schema(cast("CoreSchema", node))
        except LookupError:
            # A class that refers to itself is not known yet; its reference starts with its name.
            return reference.partition(":")[0].rpartition(".")[2]
        return _word(cast("Node", target), handler)
    if kind == "model":
        name: str = node["cls"].__name__
        return name
    inner = node.get("schema")
    if kind not in _WORDS and isinstance(inner, dict):
        return _word(cast("Node", inner), handler)
    return _WORDS.get(kind, "any")


@dataclass(frozen=True, slots=True)
class _LabelUnions:
    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        label_unions(schema, handler)
        return schema


LABEL_UNIONS: Final = _LabelUnions()
"""Marks a type whose unions name their members as above."""
