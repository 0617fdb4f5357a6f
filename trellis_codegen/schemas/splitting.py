"""Takes a named schema apart: one class per object, and for each field a schema that holds no object.

What comes out is what the model generator translates; names of classes and fields are decided here, not there. It depends
on the schema alone: which of the classes are defined in the module of the schema is decided later.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen import naming
from trellis_codegen.contract.pointers import follow, split_reference
from trellis_codegen.problems import Problem, ProblemsFound
from trellis_codegen.rule_ids import Rule
from trellis_codegen.schemas import schema_forms
from trellis_codegen.schemas.class_names import settle_names
from trellis_codegen.schemas.class_specs import ClassDraft, FieldDraft, SchemaDraft
from trellis_codegen.schemas.dereferencing import dereference, find_recursive_references
from trellis_codegen.schemas.further_members import Keeper
from trellis_codegen.schemas.keywords import CONSTRAINTS
from trellis_codegen.schemas.normalizing import normalize
from trellis_codegen.schemas.origins import Loss, find_origins, is_anything, make_loss
from trellis_codegen.schemas.path_names import PathName, name_elements, name_variants
from trellis_codegen.schemas.patterns import translate_pattern
from trellis_codegen.schemas.plain import enforces_patterns, is_tuple, select_limits, split_map, write_literal
from trellis_codegen.schemas.recursion import allows_null, find_endless, find_named

__all__ = ["split"]

JsonObject: TypeAlias = dict[str, JsonValue]

_ALIAS_FIELD = "value"
_NOTHING: JsonObject = {"type": "string", "minLength": 1, "maxLength": 0}
"""The type for `false`: pydantic has no type without values, so this is a string that can't exist."""

_UNENFORCED_PATTERNS = (
    '"patternProperties" is enforced only without "properties", with one pattern that applies to all names'
)


def split(name: str, schema: JsonValue, *, key: str) -> SchemaDraft:
    """Take the schema of the class `name` apart; placeholders start with `key`.

    Raises:
        ProblemsFound: the schema can't be written as Python types.
    """
    splitter = _Splitter(name, schema, find_recursive_references(schema), key)
    splitter.add_root()
    for (reference, _), class_key in splitter.recursive_keys.items():
        if reference in splitter.keeper.references:
            splitter.classes[class_key] = replace(splitter.classes[class_key], keeps_more=True)
    classes = settle_names(name, splitter.classes.values())
    return SchemaDraft(name=name, classes=tuple(classes), losses=tuple(splitter.losses))


@dataclass(slots=True)
class _Inlined:
    """A recursive schema that is written out where it is used, down to its classes."""

    reference: str
    count: int = 0
    """The number of its classes so far."""


@dataclass(slots=True)
class _OpenClass:
    """What the fields of a class under construction refer to."""

    key: str
    parts: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    references: dict[str, None] = field(default_factory=dict[str, None])
    """An ordered set of class keys."""
    inlined: list[_Inlined] = field(default_factory=list[_Inlined])
    """The recursive schemas that are written out at this moment, one inside the other."""


@dataclass(slots=True)
class _Splitter:
    """Collects the classes of a schema, on one walk."""

    name: str
    source: JsonValue
    recursive: frozenset[str]
    key: str
    targets: dict[str, JsonValue] = field(init=False)
    """The recursive references, each with its schema."""
    keeper: Keeper = field(init=False)
    named: frozenset[str] = field(init=False)
    """The recursive references whose types have a name and are not classes."""
    classes: dict[str, ClassDraft] = field(default_factory=dict[str, ClassDraft])
    recursive_keys: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])
    """The keys of the classes that references lead back to, by reference and by their number in its schema."""
    open_classes: list[_OpenClass] = field(default_factory=list[_OpenClass])
    """The class under construction comes last, after those that it is nested in."""
    losses: list[Loss] = field(default_factory=list[Loss])

    def __post_init__(self) -> None:
        self.targets = {reference: self._written_out(reference) for reference in sorted(self.recursive)}
        self.named = find_named(self.targets)
        self.keeper = Keeper(self.targets, self.losses)

    def add_root(self) -> None:
        for reference in sorted(find_endless(self.targets)):
            what = f'"{reference}" refers to itself with no object, list or map between'
            raise ProblemsFound([Problem(pointer=(), rule=Rule.ENDLESS_SCHEMA, what=what)])
        root = self.targets.get("#", self._written_out("#"))
        name = PathName(self.name, self.name)
        if schema_forms.is_object(root):
            self._add_class(name, root, inlined=_Inlined("#"))
        else:
            self._add_alias(root, name, "#")

    def _add_alias(self, schema: JsonValue, name: PathName, reference: str) -> None:
        """Add the name of a type that is not a class."""
        is_recursive = reference in self.named
        draft = ClassDraft(
            key=self._class_key(len(self.classes)),
            name=name.short,
            full_name=name.full,
            description=schema_forms.find_description(schema),
            is_alias=True,
            is_recursive=is_recursive,
            allows_null=is_recursive and allows_null(schema, self.targets),
        )
        inlined = _Inlined(reference)
        if is_recursive:
            self.recursive_keys[reference, 0] = draft.key
            inlined.count = 1
        opened = self._open(draft)
        opened.inlined.append(inlined)
        self._close(
            opened, [FieldDraft(name=_ALIAS_FIELD, wire_name=_ALIAS_FIELD, schema=self._flat(schema, name))]
        )

    def _add_class(self, name: PathName, schema: JsonObject, inlined: _Inlined | None = None) -> str:
        """Add the class of an object, and return its key; `inlined` is the recursive schema that it stands in."""
        if self._normalized(schema.get("additionalProperties", True)) is False:
            schema = {**schema, "additionalProperties": False}
        key = self._class_key(len(self.classes))
        if inlined is not None:
            known = self.recursive_keys.setdefault((inlined.reference, inlined.count), key)
            inlined.count += 1
            if known != key:
                return known
        draft = ClassDraft(
            key=key,
            name=name.short,
            full_name=name.full,
            place=next(iter(find_origins(schema)), ()),
            title=schema_forms.find_title(schema),
            description=schema_forms.find_description(schema),
            closed=schema.get("additionalProperties") is False and "patternProperties" not in schema,
            keeps_more=is_anything(schema.get("additionalProperties")) or "patternProperties" in schema,
        )
        if not enforces_patterns(schema):
            self._lose(schema, "patternProperties", _UNENFORCED_PATTERNS)
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

    def _more(self, name: PathName, schema: JsonObject) -> str | None:
        """Return the placeholder of the type of undeclared members, if it is limited."""
        more = self._normalized(schema.get("additionalProperties"))
        if not isinstance(more, dict) or is_anything(more) or "patternProperties" in schema:
            return None
        return self._named_part(self._flat(more, name.join("Value", "OtherValue"), inner=True))

    def _field(
        self, owner: PathName, wire_name: str, schema: JsonValue, *, element: str, required: bool
    ) -> FieldDraft:
        bare = self._normalized(schema)
        word = naming.pascal_field(wire_name)
        return FieldDraft(
            name=naming.field(wire_name),
            wire_name=wire_name,
            schema=self._flat(bare, owner.join(word), element=owner.join(element, f"{word}Item")),
            required=required,
            default=schema_forms.find_default(bare),
            description=schema_forms.find_description(schema) or schema_forms.find_description(bare),
        )

    def _flat(
        self, schema: JsonValue, name: PathName, *, element: PathName | None = None, inner: bool = False
    ) -> JsonValue:
        """Return `schema` without objects: each is a class of its own, and a placeholder here.

        `name` is what an object at this place is called, `element` what one in a list at this place is called. A narrowed
        value inside something else becomes a placeholder too: the model generator would make a class of it.
        """
        schema = self._normalized(schema)
        if not isinstance(schema, dict):
            return {} if schema is not False else self._part(_NOTHING) if inner else _NOTHING
        match schema:
            case {"$ref": str(reference)}:
                return self._recursive(reference, inner=inner)
            case {"properties": _, "type": "object"}:
                return self._placeholder(self._object(schema, name))
            case {"enum": [*values]}:
                return self._part(write_literal(values))
            case {"anyOf": [*members]}:
                return {"anyOf": self._union(members, name)}
            case {"type": "object"}:
                return self._map(schema, name)
            case {"prefixItems": _}:
                return self._tuple(schema, name, inner=inner)
            case _:
                return self._plain(schema, name, element=element, inner=inner)

    def _plain(
        self, schema: JsonObject, name: PathName, *, element: PathName | None, inner: bool
    ) -> JsonValue:
        """Return the type of a string, a number, a boolean, null or a list."""
        result = select_limits(schema)
        if "format" in result:
            for keyword in schema.keys() & {"minLength", "maxLength", "pattern"}:
                what = f'"{keyword}" is not enforced together with the format "{result["format"]}"'
                self._lose(schema, keyword, what)
        if "items" in result:
            result["items"] = self._flat(result["items"], element or name.join("Item"), inner=True)
        return self._part(result) if inner and result.keys() & CONSTRAINTS else result

    def _map(self, schema: JsonObject, name: PathName) -> JsonValue:
        if not enforces_patterns(schema):
            self._lose(schema, "patternProperties", _UNENFORCED_PATTERNS)
        keys, value = split_map(schema)
        flat = self._flat(value, name.join("Value"), inner=True)
        if keys is None:
            return {"type": "object", "additionalProperties": flat}
        key = self._named_part({"type": "string", "pattern": translate_pattern(keys)})
        return self._part(f"dict[{key}, {self._named_part(flat)}]")

    def _tuple(self, schema: JsonObject, name: PathName, *, inner: bool) -> JsonValue:
        """Return a tuple where every position is taken; else a list of whatever may be anywhere in it."""
        prefix = cast("list[JsonValue]", schema["prefixItems"])
        if not is_tuple(schema):
            what = "positions are enforced only if minItems and maxItems fix the length of the list"
            self._lose(schema, "prefixItems", what)
            more = schema.get("items", True)
            anything: list[JsonValue] = [*prefix, *([] if more is False else [more])]
            rest = {key: each for key, each in schema.items() if key != "prefixItems"}
            if more is False:
                rest["maxItems"] = min(len(prefix), cast("int", schema.get("maxItems", len(prefix))))
            return self._flat({**rest, "items": {"anyOf": anything}}, name, inner=inner)
        places = [
            self._named_part(self._flat(each, name.join(schema_forms.make_letter(index)), inner=True))
            for index, each in enumerate(prefix)
        ]
        return self._part(f"tuple[{', '.join(places)}]")

    def _union(self, members: list[JsonValue], name: PathName) -> list[JsonValue]:
        members = self.keeper.mark(members)
        variants = iter(name_variants([member for member in members if schema_forms.is_object(member)]))
        return [
            self._flat(
                member,
                name.join(
                    next(variants) if schema_forms.is_object(member) else "",
                    f"Option{schema_forms.make_letter(index)}",
                ),
                inner=True,
            )
            for index, member in enumerate(members)
        ]

    def _object(self, schema: JsonObject, name: PathName) -> str:
        """Return the key of the class for a nested object."""
        # An alias and its only object stand at one place: `Job: TypeAlias = JobObject | None`.
        short, full = (f"{each}Object" if each == self.name else each for each in (name.short, name.full))
        inlined = self.open_classes[-1].inlined
        return self._add_class(
            PathName(naming.class_name(short), naming.class_name(full)),
            schema,
            inlined[-1] if inlined else None,
        )

    def _recursive(self, reference: str, *, inner: bool) -> JsonValue:
        """Return the type of something that contains itself: a class, a name, or what is written out down to classes."""
        target = self.targets[reference]
        steps = [naming.pascal(step) for step in split_reference(reference)]
        name = PathName(
            naming.class_name(self.name + "".join(steps[-1:])), naming.class_name(self.name + "".join(steps))
        )
        if schema_forms.is_object(target):
            return self._placeholder(self._add_class(name, target, _Inlined(reference)))
        if reference in self.named:
            if (reference, 0) not in self.recursive_keys:
                self._add_alias(target, name, reference)
            return self._placeholder(self.recursive_keys[reference, 0])
        inlined = self.open_classes[-1].inlined
        inlined.append(_Inlined(reference))
        flat = self._flat(target, name, inner=inner)
        inlined.pop()
        return flat

    def _written_out(self, reference: str) -> JsonValue:
        schema, place = follow(self.source, reference)
        return self._normalized(dereference(schema, self.source, keep=self.recursive, place=place))

    def _normalized(self, schema: JsonValue) -> JsonValue:
        return normalize(schema, self.losses)

    def _lose(self, schema: JsonObject, keyword: str, what: str) -> None:
        self.losses.append(make_loss(schema, keyword, what))

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
