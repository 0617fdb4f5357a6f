"""Class drafts → classes as they are declared. The only user of datamodel-code-generator.

That generator translates types and their constraints. It sees neither names that could collide nor text of the contract:
classes and fields get their names before, docstrings and aliases after, and its output is parsed into a syntax tree.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from datamodel_code_generator import (
    Error,
    GenerateConfig,
    InputFileType,
    LiteralType,
    PythonVersion,
    generate,
)
from datamodel_code_generator.enums import DataModelType, NamingStrategy
from pydantic import JsonValue

from trellis_codegen.schemas.class_specs import ClassDraft, FieldDraft

__all__ = ["ModelClass", "ModelField", "TranslationFailed", "translate"]

_STUB: JsonValue = {"type": "object", "properties": {"stub": {"type": "string"}}}
_RUNTIME_NAMES = {
    "Any": "JsonValue",
    "UUID": "ExactUUID",
    "date": "ExactDate",
    "int": "Integer",
    "time": "AwareTime",
}
"""The generator's types → ours, which mean what JSON Schema means."""
_ALIAS_NAMES = {"float": "Number"}
"""The same for types outside of classes: there the configuration of `Model` does not hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelField:
    """A field as it is declared."""

    name: str
    wire_name: str
    annotation: str
    """The type with its constraints: `Annotated[str, Field(min_length=1)]`."""
    plain_type: str
    """The type alone: `str`."""
    default: str | None
    docstring: str | None
    names: frozenset[str]
    """The names that the annotation uses: `Annotated`, `Field`, `str`."""
    plain_names: frozenset[str]
    """The names that the plain type uses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelClass:
    """A class as it is declared, or an alias when the schema is not an object."""

    name: str
    docstring: str | None
    config: tuple[tuple[str, str], ...] = ()
    """What the class is configured with, beyond the runtime's base: name and Python text."""
    fields: tuple[ModelField, ...] = ()
    alias_of: str | None = None
    is_recursive: bool = False
    """Whether the type of the alias refers to the alias."""
    more: str | None = None
    """The type of members that the class does not declare; None when they are ignored or refused."""
    names: frozenset[str] = frozenset()
    """The names that its types use."""


class TranslationFailed(Exception):
    """The model generator failed, or its output is not as expected. Its own text is the message."""


def translate(drafts: Iterable[ClassDraft], *, classes: Mapping[str, ClassDraft]) -> dict[str, ModelClass]:
    """Return each class as it is declared, by the key of its draft; `classes` has every class that they refer to.

    Raises:
        TranslationFailed: the generator refused the schema, or its output is not as expected.
    """
    drafts = list(drafts)
    try:
        generated = _annotations(_document(drafts))
        return {draft.key: _class(draft, generated[_definition(draft)], classes) for draft in drafts}
    except (Error, Warning, ValueError, SyntaxError, RecursionError) as error:
        raise TranslationFailed(str(error)) from error
    except KeyError as error:
        raise TranslationFailed(f"it generated no class or field for {error}") from error


def _document(drafts: list[ClassDraft]) -> JsonValue:
    """Return one schema with a definition per class; every field is required, so that its annotation is its type."""
    definitions: dict[str, JsonValue] = {}
    for draft in drafts:
        definitions |= dict.fromkeys((*draft.references, *draft.parts), _STUB)
        fields = {_field_name(field): field.schema for field in draft.fields}
        parts = {_part_name(key): part for key, part in draft.parts.items() if not isinstance(part, str)}
        definitions[_definition(draft)] = _object({**fields, **parts})
    return {"type": "object", "properties": {}, "$defs": definitions}


def _object(properties: dict[str, JsonValue]) -> JsonValue:
    return {"type": "object", "properties": properties, "required": list[JsonValue](properties)}


def _annotations(document: JsonValue) -> dict[str, dict[str, ast.expr]]:
    """Return the annotation of every field of every class that the generator makes of `document`."""
    config = GenerateConfig(
        input_file_type=InputFileType.JsonSchema,
        output_model_type=DataModelType.PydanticV2BaseModel,
        class_name="Root",
        base_class="trellis_nats.Model",
        naming_strategy=NamingStrategy.FullPath,
        target_python_version=PythonVersion.PY_311,
        enum_field_as_literal=LiteralType.All,
        allow_remote_refs=False,
        disable_timestamp=True,
        field_constraints=True,
        formatters=[],
        snake_case_field=True,
        use_annotated=True,
        use_standard_collections=True,
        use_union_operator=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = generate(json.dumps(document), config=config)
    if not isinstance(text, str):
        raise TranslationFailed(f"it generated a {type(text).__name__}, not one module")
    return {
        node.name: {
            field.target.id: field.annotation
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        }
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    }


def _class(
    draft: ClassDraft, generated: dict[str, ast.expr], classes: Mapping[str, ClassDraft]
) -> ModelClass:
    referred = [classes[key] for key in draft.references]
    names: dict[str, ast.expr] = {other.key: ast.Name(other.name) for other in referred}
    names |= {target: ast.Name(ours) for target, ours in _RUNTIME_NAMES.items()}
    if draft.is_alias:
        names |= {target: ast.Name(ours) for target, ours in _ALIAS_NAMES.items()}
    # A part may hold other parts: those were made before it, so its own names are known when it is reached.
    for key, part in draft.parts.items():
        written = ast.parse(part, mode="eval").body if isinstance(part, str) else generated[_part_name(key)]
        names[key] = _rename(written, names)
    types = [_rename(generated[_field_name(field)], names) for field in draft.fields]
    nullable = frozenset(["JsonValue", *(other.name for other in referred if other.allows_null)])
    fields = tuple(
        _field(field, annotation, nullable) for field, annotation in zip(draft.fields, types, strict=True)
    )
    more = names[draft.more] if draft.more else ast.Name("JsonValue") if draft.keeps_more else None
    used = {name for field in fields for name in field.names}
    if more is not None:
        used |= _names_in(more)
    return ModelClass(
        name=draft.name,
        docstring=draft.description,
        config=tuple(_config(draft, keeps_more=more is not None)),
        fields=() if draft.is_alias else fields,
        alias_of=fields[0].annotation if draft.is_alias else None,
        is_recursive=draft.is_recursive,
        more=None if more is None else ast.unparse(more),
        names=frozenset(used),
    )


def _config(draft: ClassDraft, *, keeps_more: bool) -> Iterator[tuple[str, str]]:
    if draft.closed:
        yield "extra", repr("forbid")
    elif keeps_more:
        yield "extra", repr("allow")
    if any(field.name.startswith("model_") for field in draft.fields):
        # Without this, pydantic warns on import. Fields never get its own names: naming avoids them.
        yield "protected_namespaces", "()"


def _field(draft: FieldDraft, annotation: ast.expr, nullable: frozenset[str]) -> ModelField:
    """Return a field; `nullable` has the names of the types that null is a value of."""
    optional = not draft.required and draft.default is None
    arguments = [ast.keyword("alias", ast.Constant(draft.wire_name))] if draft.name != draft.wire_name else []
    metadata: list[ast.expr] = []
    match annotation:
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *given])):
            for constraint in given:
                match constraint:
                    case ast.Call(func=ast.Name(id="Field"), keywords=keywords):
                        arguments += [ast.keyword(keyword.arg, _whole(keyword.value)) for keyword in keywords]
                    case _:
                        metadata.append(constraint)
        case inner:
            pass
    declared = inner
    if optional and not _allows_none(inner, nullable):
        declared = ast.BinOp(inner, ast.BitOr(), ast.Constant(None))
        # Validators of the value itself must not see the None that an absent member reads as.
        metadata = [*metadata, ast.Name("NotNull")]
    plain = declared
    if arguments:
        metadata.insert(0, ast.Call(ast.Name("Field"), [], arguments))
    if metadata:
        declared = ast.Subscript(ast.Name("Annotated"), ast.Tuple([declared, *metadata]))
    default = "None" if optional else None if draft.required else repr(draft.default)
    return ModelField(
        name=draft.name,
        wire_name=draft.wire_name,
        annotation=ast.unparse(declared),
        plain_type=ast.unparse(plain),
        default=default,
        docstring=draft.description,
        names=frozenset(_names_in(declared)),
        plain_names=frozenset(_names_in(plain)),
    )


def _names_in(annotation: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}


def _whole(value: ast.expr) -> ast.expr:
    """Write `1.0` as `1`, as the contract does."""
    match value:
        case ast.Constant(value=float(number)) if number.is_integer():
            return ast.Constant(int(number))
        case _:
            return value


def _allows_none(annotation: ast.expr, nullable: frozenset[str]) -> bool:
    match annotation:
        case ast.Constant(value=None):
            return True
        case ast.Name(id=name):
            return name in nullable
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _allows_none(left, nullable) or _allows_none(right, nullable)
        case _:
            return False


def _rename(annotation: ast.expr, names: dict[str, ast.expr]) -> ast.expr:
    """Return the annotation with each placeholder replaced by the type that it refers to."""

    class Renaming(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:  # the name is ast's
            return names.get(node.id, node)

    result: ast.expr = Renaming().visit(annotation)
    return result


def _definition(draft: ClassDraft) -> str:
    return f"{draft.key}Fields"


def _field_name(draft: FieldDraft) -> str:
    """Return what the generator calls a field: never a name that means something to pydantic, nor that of a part."""
    return f"field_{draft.name}"


def _part_name(key: str) -> str:
    return f"part_{key.lower()}"
