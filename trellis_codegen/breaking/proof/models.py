"""Named schemas → kinds, from what the generator decided: the drafts of its classes.

So a comparison is about the models, and there is one meaning: whatever the generator enforces or drops is enforced or dropped here.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen import naming
from trellis_codegen.breaking.proof.kinds import (
    ANYTHING,
    NEVER,
    NULL,
    TRUTH,
    UNDECLARED,
    Kind,
    Link,
    ListOf,
    Number,
    Object,
    Text,
    Tuple,
    Union,
    Values,
)
from trellis_codegen.breaking.proof.sizes import rank_links
from trellis_codegen.problems import Problem
from trellis_codegen.schemas.class_specs import ClassDraft, SchemaDraft
from trellis_codegen.schemas.event_header import without_required_header
from trellis_codegen.schemas.origins import report_losses
from trellis_codegen.schemas.preparing import prepare_schema
from trellis_codegen.schemas.reporting import find_unenforced
from trellis_codegen.schemas.splitting import split

__all__ = ["Model", "read_model"]

JsonObject: TypeAlias = dict[str, JsonValue]

_REFERENCE = "#/$defs/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """The model of one named schema."""

    name: str
    schema: JsonValue
    """The schema in the generator's spelling."""
    root: Kind
    unenforced: tuple[Problem, ...]
    """The generator's warnings: keywords that the model does not check, each at its place in the schema."""


def read_model(name: str, schema: JsonValue, *, is_event: bool) -> Model:
    """Return the model of a valid schema. The header of an event is written by the runtime, so it is optional there.

    Raises:
        ProblemsFound: the schema can't be written as Python types.
    """
    prepared = prepare_schema(schema)
    if is_event:
        prepared = without_required_header(prepared)
    draft = split(naming.class_name(name), prepared, key="S")
    unenforced = (*find_unenforced(prepared, ()), *report_losses(draft.losses, prepared, ()))
    return Model(name=name, schema=prepared, root=_Reader(draft).read(), unenforced=unenforced)


@dataclass(slots=True)
class _Reader:
    """Reads the classes of one schema."""

    draft: SchemaDraft
    kinds: dict[str, Kind] = field(default_factory=dict[str, Kind])
    links: dict[str, Link] = field(default_factory=dict[str, Link])

    def read(self) -> Kind:
        self.links = {each.key: Link(each.key, self.kinds) for each in self.draft.classes}
        for each in self.draft.classes:
            self.kinds[each.key] = self._read_class(each)
        rank_links(self.links.values())
        return self.links[self.draft.root.key]

    def _read_class(self, draft: ClassDraft) -> Kind:
        if draft.is_alias:
            return self._read_flat(draft.fields[0].schema, draft)
        members = {each.wire_name: self._read_flat(each.schema, draft) for each in draft.fields}
        further: Kind | None = None if draft.closed else UNDECLARED
        if draft.more is not None:
            further = self._read_name(draft.more, draft)
        return Object(
            members=members,
            required=frozenset(each.wire_name for each in draft.fields if each.required),
            further=further,
            defaults={each.wire_name: each.default for each in draft.fields if each.default is not None},
            place=draft.place,
        )

    def _read_flat(self, schema: JsonValue, draft: ClassDraft) -> Kind:
        if not isinstance(schema, dict):
            return ANYTHING
        match schema:
            case {"$ref": str(reference)}:
                return self._read_name(reference.removeprefix(_REFERENCE), draft)
            case {"anyOf": [*members]}:
                return Union(tuple(self._read_flat(member, draft) for member in members))
            case {"type": "object"}:
                return Object(further=self._read_flat(schema.get("additionalProperties", {}), draft))
            case {"type": "array"}:
                item = self._read_flat(schema.get("items", {}), draft)
                return ListOf(item, *_read_counts(schema, "Items"))
            case {"type": str(kind)}:
                return _read_plain(kind, schema)
            case _:
                return ANYTHING

    def _read_name(self, name: str, draft: ClassDraft) -> Kind:
        """Return the kind of a class, or of a type that was kept aside."""
        part = draft.parts.get(name)
        if isinstance(part, str):
            return self._read_type(ast.parse(part, mode="eval").body, draft)
        return self._read_flat(part, draft) if name in draft.parts else self.links[name]

    def _read_type(self, node: ast.expr, draft: ClassDraft) -> Kind:
        """Return the kind of a type that the generator has written as text."""
        match node:
            case ast.Name(id=name):
                return self._read_name(name, draft)
            case ast.Constant(value=None):
                return NULL
            case ast.BinOp(left=left, right=right):
                return _join_constants(self._read_type(left, draft), self._read_type(right, draft))
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, how])):
                return _read_one_of(how) if isinstance(how, ast.Call) else self._read_type(inner, draft)
            case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
                return Values(_read_values(values))
            case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
                names = self._read_type(key, draft)
                pattern = names.pattern if isinstance(names, Text) else None
                return Object(further=self._read_type(value, draft), names=pattern)
            case ast.Subscript(value=ast.Name(id="tuple"), slice=positions):
                places = positions.elts if isinstance(positions, ast.Tuple) else [positions]
                return Tuple(tuple(self._read_type(each, draft) for each in places))
            case _:
                raise NotImplementedError(ast.unparse(node))


def _read_plain(kind: str, schema: JsonObject) -> Kind:
    match kind:
        case "null":
            return NULL
        case "boolean":
            return TRUTH
        case "string":
            shortest, longest = _read_counts(schema, "Length")
            pattern, form = schema.get("pattern"), schema.get("format")
            if longest is not None and longest < shortest:
                return NEVER
            return Text(
                shortest,
                longest,
                pattern if isinstance(pattern, str) else None,
                form if isinstance(form, str) else None,
            )
        case _:
            return _read_number(schema, whole=kind == "integer")


def _read_number(schema: JsonObject, *, whole: bool) -> Number:
    limits = {
        keyword: Fraction(str(limit))
        for keyword, limit in schema.items()
        if isinstance(limit, int | float) and not isinstance(limit, bool)
    }
    low, low_open = _choose(limits.get("minimum"), limits.get("exclusiveMinimum"), sign=1)
    high, high_open = _choose(limits.get("maximum"), limits.get("exclusiveMaximum"), sign=-1)
    if whole and low is not None and low_open:
        low, low_open = low + 1, False
    if whole and high is not None and high_open:
        high, high_open = high - 1, False
    return Number(whole, low, high, low_open, high_open, limits.get("multipleOf"))


def _choose(closed: Fraction | None, opened: Fraction | None, *, sign: int) -> tuple[Fraction | None, bool]:
    """Return the bound that allows less, and whether it is open."""
    if opened is None:
        return closed, False
    if closed is None or opened * sign >= closed * sign:
        return opened, True
    return closed, False


def _read_counts(schema: Mapping[str, JsonValue], what: str) -> tuple[int, int | None]:
    low, high = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    return cast("int", low), high if isinstance(high, int) else None


def _read_one_of(call: ast.Call) -> Kind:
    return Values(_read_values(call.args[0]))


def _read_values(node: ast.expr) -> tuple[JsonValue, ...]:
    value: object = ast.literal_eval(node)
    return cast("tuple[JsonValue, ...]", value if isinstance(value, tuple) else (value,))


def _join_constants(one: Kind, other: Kind) -> Kind:
    """Return one enumeration for constants and null, which Python writes apart."""
    values = one.values if isinstance(one, Values) else ()
    return Values((*values, None)) if other is NULL else Union((one, other))
