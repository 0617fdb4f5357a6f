"""Classes whose names are decided and whose types are still schemas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from pydantic import JsonValue

from trellis_codegen.problems import Pointer
from trellis_codegen.schemas.origins import Loss

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

    key: str
    """The placeholder of the class: what the schemas of fields refer to."""
    name: str
    """The path name of the class: `OrderItem` for an element of the `items` of an `Order`."""
    full_name: str
    """The same with each union and each position spelt out, for two classes of one path name."""
    place: Pointer = ()
    """Where the schema stands in the named schema."""
    title: str | None = None
    fields: tuple[FieldDraft, ...] = ()
    description: str | None = None
    closed: bool = False
    """Whether the class refuses members that it does not declare."""
    keeps_more: bool = False
    """Whether the class keeps members that it does not declare. This makes no other type."""
    is_alias: bool = False
    """Whether the schema is not an object; the only field then has its type."""
    is_recursive: bool = False
    """Whether the type of an alias refers to the alias."""
    allows_null: bool = False
    """Whether null is a value of an alias that is recursive."""
    more: str | None = None
    """The placeholder of the type of undeclared members; None when they hold anything, or are refused."""
    parts: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Types kept aside, by placeholder: a schema, or the text of a type. A part comes after the parts it holds."""
    references: tuple[str, ...] = ()
    """The keys of the classes that the fields refer to, in the order in which they occur."""

    def complete(
        self,
        fields: Iterable[FieldDraft],
        *,
        more: str | None,
        parts: dict[str, JsonValue],
        references: Iterable[str],
    ) -> Self:
        """Return the same class with its fields and everything that they refer to."""
        return replace(self, fields=tuple(fields), more=more, parts=parts, references=tuple(references))


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaDraft:
    """One named schema, taken apart."""

    name: str
    classes: tuple[ClassDraft, ...]
    """The class of the schema itself, then one for each object inside it, in the order of the schema."""
    losses: tuple[Loss, ...] = ()
    """The constraints that the classes do not check."""

    @property
    def root(self) -> ClassDraft:
        """The class of the schema itself."""
        return self.classes[0]
