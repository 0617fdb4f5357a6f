"""Takes a named schema apart: one class per object, and for each field a schema that holds no object.

What comes out is what the model generator translates; names of classes and fields are decided here, not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen import naming
from trellis_codegen.problems import Problem, ProblemsFound
from trellis_codegen.schemas.checking import resolve
from trellis_codegen.schemas.dereferencing import dereferenced, recursive_references
from trellis_codegen.schemas.forms import (
    description_of, has_reference, is_map, is_object, literal, map_value, plain_default, unwrapped,
)  # fmt: skip
from trellis_codegen.schemas.keywords import CONSTRAINTS, ENFORCED_FORMATS, MERGEABLE
from trellis_codegen.schemas.shapes import Shape, shape_of, variant_names

__all__ = ["ClassDraft", "FieldDraft", "SchemaDraft", "split"]

JsonObject: TypeAlias = dict[str, JsonValue]

ROOT_FIELD = "value"
"""The field of a draft whose schema is not an object: its annotation is the type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldDraft:
    """One field, its type still a schema."""

    name: str
    wire_name: str
    schema: JsonValue
    required: bool
    default: JsonValue
    description: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDraft:
    """One class, its fields still schemas."""

    name: str
    fields: tuple[FieldDraft, ...]
    description: str | None
    closed: bool
    is_alias: bool = False
    """Whether this stands for a schema that is not an object; its only field then has the type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaDraft:
    """What becomes of one named schema, or of one shape."""

    key: str
    name: str
    classes: tuple[ClassDraft, ...]
    """The class of the schema itself, then those that refer to themselves."""
    parts: dict[str, JsonValue]
    """Narrowed values inside lists, maps and unions, by placeholder."""
    references: dict[str, str]
    """The name in this module of what a placeholder stands for; none for those in `parts`."""
    shapes: dict[str, Shape]
    """The nested objects of this module: path name → shape."""
    nested: dict[Shape, JsonObject]
    """The schemas of those shapes."""


def split(name: str, schema: JsonValue, *, key: str) -> SchemaDraft:
    """Take the schema of the class `name` apart; placeholders start with `key`.

    Raises:
        ProblemsFound: two nested objects get one name, or the schema is too large with its references written out.
    """
    return _Splitter(name, schema, key).draft()


@dataclass(slots=True)
class _Splitter:
    name: str
    source: JsonValue
    key: str
    recursive: frozenset[str] = frozenset()
    classes: dict[str, ClassDraft] = field(default_factory=dict[str, ClassDraft])
    parts: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    references: dict[str, str] = field(default_factory=dict[str, str])
    shapes: dict[str, Shape] = field(default_factory=dict[str, Shape])
    nested: dict[Shape, JsonObject] = field(default_factory=dict[Shape, JsonObject])

    def draft(self) -> SchemaDraft:
        self.recursive = recursive_references(self.source)
        root = unwrapped(dereferenced(self.source, self.source, keep=self.recursive))
        if isinstance(root, dict) and is_object(root):
            self._add_class(self.name, root)
        else:
            self._add_alias(root)
        return SchemaDraft(
            key=self.key, name=self.name, classes=tuple(self.classes.values()), parts=self.parts, references=self.references,
            shapes=self.shapes, nested=self.nested,
        )  # fmt: skip

    def _add_alias(self, root: JsonValue) -> None:
        if "#" in self.recursive:
            self._refuse("a schema that contains itself must be an object")
        value = FieldDraft(
            name=ROOT_FIELD, wire_name=ROOT_FIELD, schema=self._leaf(root, self.name), required=True, default=None, description=None,
        )  # fmt: skip
        draft = ClassDraft(name=self.name, fields=(value,), description=description_of(root), closed=False, is_alias=True)
        self.classes = {self.name: draft} | self.classes

    def _add_class(self, name: str, schema: JsonObject) -> None:
        properties = cast("JsonObject", schema.get("properties", {}))
        required = cast("list[JsonValue]", schema.get("required", []))
        closed = schema.get("additionalProperties") is False
        self.classes[name] = ClassDraft(name=name, fields=(), description=description_of(schema), closed=closed)
        fields = [
            self._field(name, wire_name, each, required=wire_name in required, siblings=properties)
            for wire_name, each in sorted(properties.items())
        ]
        self.classes[name] = ClassDraft(name=name, fields=tuple(fields), description=description_of(schema), closed=closed)

    def _field(self, owner: str, wire_name: str, schema: JsonValue, *, required: bool, siblings: JsonObject) -> FieldDraft:
        path, element = f"{owner}{naming.pascal(wire_name)}", naming.singular(wire_name)
        if element in {naming.pascal(each) for each in siblings}:
            element = f"{naming.pascal(wire_name)}Item"
        bare = unwrapped(schema)
        return FieldDraft(
            name=naming.field(wire_name),
            wire_name=wire_name,
            schema=self._leaf(bare, path, f"{owner}{element}"),
            required=required,
            default=plain_default(bare),
            description=description_of(schema) or description_of(bare),
        )

    def _leaf(self, schema: JsonValue, name: str, element: str | None = None, *, inner: bool = False) -> JsonValue:
        """Return `schema` without objects: each is a class of its own, and a placeholder here."""
        schema = unwrapped(schema)
        element = element or f"{name}Item"
        if schema is False:
            return self._placeholder("Never")
        if not isinstance(schema, dict):
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            return self._placeholder(self._recursive_class(reference))
        if is_object(schema):
            return self._placeholder(self._object(schema, name))
        result = {key: each for key, each in schema.items() if key in MERGEABLE}
        if "enum" in result or "const" in result:
            return literal(result)
        if result.get("format") not in ENFORCED_FORMATS:
            result.pop("format", None)
        if isinstance(members := result.get("anyOf", result.get("oneOf")), list):
            return {"anyOf": self._union(members, name)}
        if is_map(result):
            return {"type": "object", "additionalProperties": self._leaf(map_value(result), f"{name}Value", inner=True)}
        if isinstance(prefix := result.get("prefixItems"), list):
            result["prefixItems"] = [self._leaf(each, f"{name}{chr(ord('A') + index % 26)}", inner=True) for index, each in enumerate(prefix)]
        if "items" in result and result["items"] is not False:
            result["items"] = self._leaf(result["items"], element, inner=True)
        if inner and result.keys() & CONSTRAINTS:
            return self._part(result)
        return result

    def _union(self, members: list[JsonValue], name: str) -> list[JsonValue]:
        objects = [each for each in map(unwrapped, members) if isinstance(each, dict) and is_object(each)]
        names = iter([name] if len(objects) == 1 else [f"{name}{each}" for each in variant_names(list(objects))] if objects else [])
        return [
            self._leaf(each, next(names) if isinstance(each, dict) and is_object(each) else name, inner=True)
            for each in map(unwrapped, members)
        ]

    def _object(self, schema: JsonObject, name: str) -> str:
        """Return the name of the class for a nested object."""
        if has_reference(schema):
            self._claim(name, None)
            self._add_class(name, schema)
            return name
        shape = shape_of(schema)
        self._claim(name, shape)
        self.shapes[name] = shape
        self.nested[shape] = schema
        return name

    def _claim(self, name: str, shape: Shape | None) -> None:
        if name in self.classes or self.shapes.get(name, shape) != shape:
            self._refuse(f"two different objects inside would both become the class {name}")

    def _recursive_class(self, reference: str) -> str:
        """Return the name of the class for something that contains itself."""
        if reference == "#":
            return self.name
        name = self.name + naming.pascal(reference.rpartition("/")[2])
        if name not in self.classes:
            target = unwrapped(dereferenced(resolve(self.source, reference), self.source, keep=self.recursive))
            if not isinstance(target, dict) or not is_object(target):
                self._refuse(f'"{reference}" contains itself, so it must be an object')
            self._add_class(name, target)
        return name

    def _placeholder(self, target: str) -> JsonValue:
        key = next((key for key, each in self.references.items() if each == target), self._new_key())
        self.references[key] = target
        return {"$ref": f"#/$defs/{key}"}

    def _part(self, schema: JsonObject) -> JsonValue:
        key = self._new_key()
        self.parts[key] = schema
        return {"$ref": f"#/$defs/{key}"}

    def _new_key(self) -> str:
        return f"{self.key}Part{len(self.references) + len(self.parts)}"

    def _refuse(self, what: str) -> NoReturn:
        raise ProblemsFound([Problem(pointer=(), what=what)])
