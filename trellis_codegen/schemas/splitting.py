"""Takes a named schema apart: one class per object, and for each field a schema that holds no object.

What comes out is what the model generator translates; names of classes and fields are decided here, not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen import naming
from trellis_codegen.problems import Problem, ProblemsFound
from trellis_codegen.schemas import schema_forms
from trellis_codegen.schemas.checking import resolve
from trellis_codegen.schemas.class_specs import ClassDraft, FieldDraft, SchemaDraft
from trellis_codegen.schemas.dereferencing import dereferenced, recursive_references
from trellis_codegen.schemas.keywords import CONSTRAINTS
from trellis_codegen.schemas.normalizing import normalized
from trellis_codegen.schemas.plain import demands_of, is_tuple, literal_type, map_members
from trellis_codegen.schemas.shapes import Shape, element_names, shape_of, variant_names

__all__ = ["split"]

JsonObject: TypeAlias = dict[str, JsonValue]

_ALIAS_FIELD = "value"
_NOTHING: JsonObject = {"type": "string", "minLength": 1, "maxLength": 0}
"""What `false` becomes: pydantic has no type for a value that can't exist, so it is a text that can't exist."""


def split(name: str, schema: JsonValue, *, key: str) -> SchemaDraft:
    """Take the schema of the class `name` apart; placeholders start with `key`.

    Raises:
        ProblemsFound: two nested objects get one name, or the schema can't be written as Python types.
    """
    splitter = _Splitter(name, schema, recursive_references(schema), key)
    splitter.add_root()
    return SchemaDraft(
        key=key,
        name=name,
        classes=tuple(splitter.classes.values()),
        parts=splitter.parts,
        references=splitter.references,
        shapes=splitter.shapes,
        nested=splitter.nested,
    )


@dataclass(slots=True)
class _Splitter:
    """Collects what a schema is made of, on one walk."""

    name: str
    source: JsonValue
    recursive: frozenset[str]
    key: str
    classes: dict[str, ClassDraft] = field(default_factory=dict[str, ClassDraft])
    parts: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    references: dict[str, str] = field(default_factory=dict[str, str])
    shapes: dict[str, Shape] = field(default_factory=dict[str, Shape])
    nested: dict[Shape, JsonObject] = field(default_factory=dict[Shape, JsonObject])

    def add_root(self) -> None:
        root = self._written_out(self.source)
        if schema_forms.is_object(root):
            self._add_class(self.name, root)
        elif "#" in self.recursive:
            self._refuse("a schema that contains itself must be an object")
        else:
            self._add_alias(root)

    def _add_alias(self, root: JsonValue) -> None:
        value = FieldDraft(name=_ALIAS_FIELD, wire_name=_ALIAS_FIELD, schema=self._flat(root, self.name))
        description = schema_forms.description_of(root)
        alias = ClassDraft(name=self.name, fields=(value,), description=description, is_alias=True)
        self.classes = {self.name: alias, **self.classes}

    def _add_class(self, name: str, schema: JsonObject) -> None:
        draft = ClassDraft(
            name=name,
            description=schema_forms.description_of(schema),
            closed=schema.get("additionalProperties") is False and "patternProperties" not in schema,
        )
        # It has its place before its fields are looked at, because they may lead back to it.
        self.classes[name] = draft
        properties = schema_forms.properties_of(schema)
        elements = element_names(properties)
        required = cast("list[JsonValue]", schema.get("required", []))
        fields = [
            self._field(name, wire_name, each, element=elements[wire_name], required=wire_name in required)
            for wire_name, each in sorted(properties.items())
        ]
        self.classes[name] = draft.with_fields(fields, more=self._more(name, schema))

    def _more(self, name: str, schema: JsonObject) -> str | None:
        """Return the placeholder of what further members of an object hold, if that is limited."""
        more = schema.get("additionalProperties")
        if not isinstance(more, dict) or "patternProperties" in schema or normalized(more) in (True, {}):
            return None
        return self._named_part(self._flat(more, f"{name}Value", inner=True))

    def _field(
        self, owner: str, wire_name: str, schema: JsonValue, *, element: str, required: bool
    ) -> FieldDraft:
        bare = normalized(schema)
        return FieldDraft(
            name=naming.field(wire_name),
            wire_name=wire_name,
            schema=self._flat(bare, f"{owner}{naming.pascal(wire_name)}", element=f"{owner}{element}"),
            required=required,
            default=schema_forms.plain_default(bare),
            description=schema_forms.description_of(schema) or schema_forms.description_of(bare),
        )

    def _flat(self, schema: JsonValue, name: str, *, element: str = "", inner: bool = False) -> JsonValue:
        """Return `schema` without objects: each is a class of its own, and a placeholder here.

        `name` is what an object at this place is called, `element` what one in a list at this place is called. A narrowed
        value inside something else becomes a placeholder too: the model generator would make a class of it.
        """
        schema = normalized(schema)
        if schema is False:
            return self._part(_NOTHING) if inner else _NOTHING
        if not isinstance(schema, dict):
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            return self._placeholder(self._recursive_class(reference))
        if schema_forms.is_object(schema):
            return self._placeholder(self._object(schema, name))
        if isinstance(values := schema.get("enum"), list):
            return self._part(literal_type(values))
        if isinstance(members := schema.get("anyOf"), list):
            return {"anyOf": self._union(members, name)}
        if schema.get("type") == "object":
            return self._map(schema, name)
        if "prefixItems" in schema:
            return self._tuple(schema, name, inner=inner)
        result = demands_of(schema)
        if "items" in result:
            result["items"] = self._flat(result["items"], element or f"{name}Item", inner=True)
        return self._part(result) if inner and result.keys() & CONSTRAINTS else result

    def _map(self, schema: JsonObject, name: str) -> JsonValue:
        keys, value = map_members(schema)
        flat = self._flat(value, f"{name}Value", inner=True)
        if keys is None:
            return {"type": "object", "additionalProperties": flat}
        key = self._named_part({"type": "string", "pattern": keys})
        return self._part(f"dict[{key}, {self._named_part(flat)}]")

    def _tuple(self, schema: JsonObject, name: str, *, inner: bool) -> JsonValue:
        """Return a tuple where every position is taken; else a list of whatever may stand anywhere in it."""
        prefix = cast("list[JsonValue]", schema["prefixItems"])
        if not is_tuple(schema):
            more = schema.get("items", True)
            anything: list[JsonValue] = [*prefix, *([] if more is False else [more])]
            rest = {key: each for key, each in schema.items() if key != "prefixItems"}
            if more is False:
                rest["maxItems"] = min(len(prefix), cast("int", schema.get("maxItems", len(prefix))))
            return self._flat({**rest, "items": {"anyOf": anything}}, name, inner=inner)
        places = [
            self._named_part(self._flat(each, f"{name}{schema_forms.letter(index)}", inner=True))
            for index, each in enumerate(prefix)
        ]
        return self._part(f"tuple[{', '.join(places)}]")

    def _union(self, members: list[JsonValue], name: str) -> list[JsonValue]:
        bare = [normalized(member) for member in members]
        variants = iter(variant_names([each for each in bare if schema_forms.is_object(each)]))
        names = [f"{name}{next(variants)}" if schema_forms.is_object(each) else name for each in bare]
        return [self._flat(each, variant, inner=True) for each, variant in zip(bare, names, strict=True)]

    def _object(self, schema: JsonObject, name: str) -> str:
        """Return the name of the class for a nested object: a shape, unless it is part of a recursion."""
        name = naming.class_name(name)
        shape = None if schema_forms.has_reference(schema) else shape_of(schema)
        if name in self.classes or self.shapes.get(name, shape) != shape:
            self._refuse(f"two different objects inside would both become the class {name}")
        if shape is None:
            self._add_class(name, schema)
        else:
            self.shapes[name] = shape
            self.nested[shape] = schema
        return name

    def _recursive_class(self, reference: str) -> str:
        """Return the name of the class for something that contains itself."""
        if reference == "#":
            return self.name
        name = naming.class_name(self.name + naming.pascal(reference.rpartition("/")[2]))
        if name not in self.classes:
            target = self._written_out(resolve(self.source, reference))
            if not schema_forms.is_object(target):
                self._refuse(f'"{reference}" contains itself, so it must be an object')
            self._add_class(name, target)
        return name

    def _written_out(self, schema: JsonValue) -> JsonValue:
        return normalized(dereferenced(schema, self.source, keep=self.recursive))

    def _placeholder(self, target: str) -> JsonValue:
        known = (key for key, each in self.references.items() if each == target)
        key = next(known, None) or self._new_key()
        self.references[key] = target
        return {"$ref": f"#/$defs/{key}"}

    def _part(self, content: JsonValue) -> JsonValue:
        """Keep something aside: a schema, or a type that is written already. A placeholder stands in its place."""
        return {"$ref": f"#/$defs/{self._named_part(content)}"}

    def _named_part(self, content: JsonValue) -> str:
        key = self._new_key()
        self.parts[key] = content
        return key

    def _new_key(self) -> str:
        return f"{self.key}Part{len(self.references) + len(self.parts)}"

    def _refuse(self, what: str) -> NoReturn:
        raise ProblemsFound([Problem(pointer=(), what=what)])
