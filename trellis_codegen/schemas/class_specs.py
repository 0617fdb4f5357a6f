"""Classes whose names are decided and whose types are still schemas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from pydantic import JsonValue

from trellis_codegen.schemas.shapes import Shape

__all__ = ["ClassDraft", "FieldDraft", "SchemaDraft"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldDraft:
    """One field."""

    name: str
    wire_name: str
    schema: JsonValue
    required: bool = True
    default: JsonValue = None
    """What an absent member means; None when the schema does not say."""
    description: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDraft:
    """One class."""

    name: str
    fields: tuple[FieldDraft, ...] = ()
    description: str | None = None
    closed: bool = False
    """Whether members that it does not declare are refused."""
    is_alias: bool = False
    """Whether this stands for a schema that is not an object; its only field then has the type."""

    more: str | None = None
    """The placeholder of what members hold that it does not declare; None when that is anything, or nothing."""

    def with_fields(self, fields: Iterable[FieldDraft], *, more: str | None) -> Self:
        """Return the same class with these fields, and with this for further members."""
        return replace(self, fields=tuple(fields), more=more)


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaDraft:
    """What becomes of one named schema, or of one shape."""

    key: str
    """Tells this draft's placeholders from those of others."""
    name: str
    classes: tuple[ClassDraft, ...]
    """The class of the schema itself, then those that are part of a recursion."""
    parts: dict[str, JsonValue]
    """What was kept aside, by placeholder: a schema, or the text of a type. A part comes after the parts it holds."""
    references: dict[str, str]
    """Classes, by placeholder: their names in this module."""
    shapes: dict[str, Shape]
    """The nested objects of this module: path name → shape."""
    nested: dict[Shape, dict[str, JsonValue]]
    """The schemas of those shapes."""
