"""Takes a named schema apart: one class per object, and for each field a schema that holds no object.

What comes out is what the model generator translates; names of classes and fields are decided here, not there. It depends
on the schema alone: which of the classes are defined in the module of the schema is decided later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen import naming
from trellis_codegen.contract.pointers import resolve, split_reference
from trellis_codegen.problems import Problem, ProblemsFound
from trellis_codegen.schemas import schema_forms
from trellis_codegen.schemas.class_specs import ClassDraft, FieldDraft, SchemaDraft
from trellis_codegen.schemas.dereferencing import dereference, find_recursive_references
from trellis_codegen.schemas.keywords import CONSTRAINTS
from trellis_codegen.schemas.normalizing import normalize
from trellis_codegen.schemas.path_names import name_elements, name_variants
from trellis_codegen.schemas.patterns import translate_pattern
from trellis_codegen.schemas.plain import is_tuple, select_limits, split_map, write_literal

__all__ = ["split"]

JsonObject: TypeAlias = dict[str, JsonValue]

_ALIAS_FIELD = "value"
_NOTHING: JsonObject = {"type": "string", "minLength": 1, "maxLength": 0}
"""The type for `false`: pydantic has no type without values, so this is a string that can't exist."""


def split(name: str, schema: JsonValue, *, key: str) -> SchemaDraft:
    """Take the schema of the class `name` apart; placeholders start with `key`.

    Raises:
        ProblemsFound: the schema can't be written as Python types.
    """
    splitter = _Splitter(name, schema, find_recursive_references(schema), key)
    splitter.add_root()
    return SchemaDraft(name=name, classes=tuple(splitter.classes.values()))


@dataclass(slots=True)
class _OpenClass:
    """What the fields of a class under construction refer to."""

    key: str
    parts: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    references: dict[str, None] = field(default_factory=dict[str, None])
    """An ordered set of class keys."""


@dataclass(slots=True)
class _Splitter:
    """Collects the classes of a schema, on one walk."""

    name: str
    source: JsonValue
    recursive: frozenset[str]
    key: str
    classes: dict[str, ClassDraft] = field(default_factory=dict[str, ClassDraft])
    recursive_keys: dict[str, str] = field(default_factory=dict[str, str])
    """The keys of the classes that references lead back to, by reference."""
    open_classes: list[_OpenClass] = field(default_factory=list[_OpenClass])
    """The class under construction comes last, after those that it is nested in."""

    def add_root(self) -> None:
        root = self._written_out(self.source)
        self.recursive_keys["#"] = self._class_key(0)
        if schema_forms.is_object(root):
            self._add_class(self.name, root)
        elif "#" in self.recursive:
            self._refuse("a recursive schema must be an object")
        else:
            self._add_alias(root)

    def _add_alias(self, root: JsonValue) -> None:
        description = schema_forms.find_description(root)
        draft = ClassDraft(key=self._class_key(0), name=self.name, description=description, is_alias=True)
        opened = self._open(draft)
        value = FieldDraft(name=_ALIAS_FIELD, wire_name=_ALIAS_FIELD, schema=self._flat(root, self.name))
        self._close(opened, [value])

    def _add_class(self, name: str, schema: JsonObject) -> str:
        """Add the class of an object, and return its key."""
        draft = ClassDraft(
            key=self._class_key(len(self.classes)),
            name=name,
            description=schema_forms.find_description(schema),
            closed=schema.get("additionalProperties") is False and "patternProperties" not in schema,
        )
        opened = self._open(draft)
        properties = schema_forms.find_properties(schema)
        elements = name_elements(properties)
        required = cast("list[JsonValue]", schema.get("required", []))
        fields = [
            self._field(name, wire_name, each, element=elements[wire_name], required=wire_name in required)
            for wire_name, each in properties.items()
        ]
        self._close(opened, fields, more=self._more(name, schema))
        return draft.key

    def _open(self, draft: ClassDraft) -> _OpenClass:
        """Give a class its place before its fields are read, because they may lead back to it."""
        self.classes[draft.key] = draft
        opened = _OpenClass(draft.key)
        self.open_classes.append(opened)
        return opened

    def _close(self, opened: _OpenClass, fields: list[FieldDraft], *, more: str | None = None) -> None:
        self.open_classes.pop()
        self.classes[opened.key] = self.classes[opened.key].complete(
            fields, more=more, parts=opened.parts, references=opened.references
        )

    def _more(self, name: str, schema: JsonObject) -> str | None:
        """Return the placeholder of the type of undeclared members, if it is limited."""
        more = schema.get("additionalProperties")
        if not isinstance(more, dict) or "patternProperties" in schema or normalize(more) in (True, {}):
            return None
        return self._named_part(self._flat(more, f"{name}Value", inner=True))

    def _field(
        self, owner: str, wire_name: str, schema: JsonValue, *, element: str, required: bool
    ) -> FieldDraft:
        bare = normalize(schema)
        return FieldDraft(
            name=naming.field(wire_name),
            wire_name=wire_name,
            schema=self._flat(bare, f"{owner}{naming.pascal_field(wire_name)}", element=f"{owner}{element}"),
            required=required,
            default=schema_forms.find_default(bare),
            description=schema_forms.find_description(schema) or schema_forms.find_description(bare),
        )

    def _flat(self, schema: JsonValue, name: str, *, element: str = "", inner: bool = False) -> JsonValue:
        """Return `schema` without objects: each is a class of its own, and a placeholder here.

        `name` is what an object at this place is called, `element` what one in a list at this place is called. A narrowed
        value inside something else becomes a placeholder too: the model generator would make a class of it.
        """
        schema = normalize(schema)
        if schema is False:
            return self._part(_NOTHING) if inner else _NOTHING
        if not isinstance(schema, dict):
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            return self._placeholder(self._recursive_class(reference))
        if schema_forms.is_object(schema):
            return self._placeholder(self._object(schema, name))
        if isinstance(values := schema.get("enum"), list):
            return self._part(write_literal(values))
        if isinstance(members := schema.get("anyOf"), list):
            return {"anyOf": self._union(members, name)}
        if schema.get("type") == "object":
            return self._map(schema, name)
        if "prefixItems" in schema:
            return self._tuple(schema, name, inner=inner)
        result = select_limits(schema)
        if "items" in result:
            result["items"] = self._flat(result["items"], element or f"{name}Item", inner=True)
        return self._part(result) if inner and result.keys() & CONSTRAINTS else result

    def _map(self, schema: JsonObject, name: str) -> JsonValue:
        keys, value = split_map(schema)
        flat = self._flat(value, f"{name}Value", inner=True)
        if keys is None:
            return {"type": "object", "additionalProperties": flat}
        key = self._named_part({"type": "string", "pattern": translate_pattern(keys)})
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
            self._named_part(self._flat(each, f"{name}{schema_forms.make_letter(index)}", inner=True))
            for index, each in enumerate(prefix)
        ]
        return self._part(f"tuple[{', '.join(places)}]")

    def _union(self, members: list[JsonValue], name: str) -> list[JsonValue]:
        bare = [normalize(member) for member in members]
        variants = iter(name_variants([member for member in bare if schema_forms.is_object(member)]))
        names = [f"{name}{next(variants)}" if schema_forms.is_object(member) else name for member in bare]
        return [self._flat(member, variant, inner=True) for member, variant in zip(bare, names, strict=True)]

    def _object(self, schema: JsonObject, name: str) -> str:
        """Return the key of the class for a nested object."""
        # An alias and its only object stand at one place: `Job: TypeAlias = JobObject | None`.
        return self._add_class(naming.class_name(f"{name}Object" if name == self.name else name), schema)

    def _recursive_class(self, reference: str) -> str:
        """Return the key of the class for an object that contains itself."""
        if reference not in self.recursive_keys:
            target = self._written_out(resolve(self.source, reference))
            if not schema_forms.is_object(target):
                self._refuse(f'"{reference}" is recursive, so it must be an object')
            # Its place is known before its fields are read, because they lead back to it.
            self.recursive_keys[reference] = self._class_key(len(self.classes))
            name = naming.class_name(self.name + naming.pascal("".join(split_reference(reference)[-1:])))
            self._add_class(name, target)
        return self.recursive_keys[reference]

    def _written_out(self, schema: JsonValue) -> JsonValue:
        return normalize(dereference(schema, self.source, keep=self.recursive))

    def _placeholder(self, class_key: str) -> JsonValue:
        self.open_classes[-1].references[class_key] = None
        return {"$ref": f"#/$defs/{class_key}"}

    def _part(self, content: JsonValue) -> JsonValue:
        """Keep a type aside: a schema, or a type that is written already. A placeholder stands in its place."""
        return {"$ref": f"#/$defs/{self._named_part(content)}"}

    def _named_part(self, content: JsonValue) -> str:
        opened = self.open_classes[-1]
        key = f"{opened.key}Part{len(opened.parts)}"
        opened.parts[key] = content
        return key

    def _class_key(self, index: int) -> str:
        return f"{self.key}Class{index}"

    def _refuse(self, what: str) -> NoReturn:
        raise ProblemsFound([Problem(pointer=(), what=what)])
