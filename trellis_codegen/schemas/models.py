"""One named schema → the classes of one module. The only user of datamodel-code-generator.

The generator translates types and their constraints. It sees neither names that could collide nor words of the contract:
classes and fields are named before, docstrings and aliases are written after, and its text is read back as a syntax tree.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterable, Iterator
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

from trellis_codegen.schemas.class_specs import ClassDraft, FieldDraft, SchemaDraft

__all__ = ["ModelClass", "ModelField", "TranslationFailed", "translate"]

_STUB: JsonValue = {"type": "object", "properties": {"stub": {"type": "string"}}}
_RUNTIME_NAMES = {"Any": "JsonValue", "int": "Integer", "time": "AwareTime"}
"""What the generator writes → what we write: types that mean what JSON Schema means."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelClass:
    """A class as it is declared, or an alias when the schema is not an object."""

    name: str
    docstring: str | None
    config: tuple[tuple[str, str], ...]
    """What the class is configured with, beyond the runtime's base: name and Python text."""
    fields: tuple[ModelField, ...]
    alias_of: str | None = None
    more: str | None = None
    """The type of members that the class does not declare; None when they are ignored or refused."""


class TranslationFailed(Exception):
    """The model generator did not make what it was asked for; its words are the message."""


def translate(drafts: Iterable[SchemaDraft]) -> dict[str, tuple[ModelClass, ...]]:
    """Return the classes of each draft, by the draft's key.

    Raises:
        TranslationFailed: the generator refused the schema, or made something else of it.
    """
    drafts = list(drafts)
    try:
        generated = _annotations(_document(drafts))
        return {draft.key: _classes(draft, generated) for draft in drafts}
    except (Error, Warning, ValueError, SyntaxError, RecursionError) as error:
        raise TranslationFailed(str(error)) from error
    except KeyError as error:
        raise TranslationFailed(f"nothing was made of {error}") from error


def _document(drafts: list[SchemaDraft]) -> JsonValue:
    """Return one schema with a definition per class; every field is required, so that its annotation is its type."""
    definitions: dict[str, JsonValue] = {}
    for draft in drafts:
        definitions |= dict.fromkeys((*draft.references, *draft.parts), _STUB)
        for index, each in enumerate(draft.classes):
            definitions[_class_key(draft, index)] = _object(
                {field.name: field.schema for field in each.fields}
            )
        definitions[f"{draft.key}Parts"] = _object(
            {_part_field(key): each for key, each in draft.parts.items() if not isinstance(each, str)}
        )
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
        raise TranslationFailed(f"made {type(text).__name__}, not one module")
    return {
        node.name: {
            field.target.id: field.annotation
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        }
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    }


def _classes(draft: SchemaDraft, generated: dict[str, dict[str, ast.expr]]) -> tuple[ModelClass, ...]:
    parts = generated[f"{draft.key}Parts"]
    names: dict[str, ast.expr] = {key: ast.Name(target) for key, target in draft.references.items()}
    names |= {target: ast.Name(ours) for target, ours in _RUNTIME_NAMES.items()}
    # A part may hold other parts: those were made before it, so its own names are known when it is reached.
    for key, part in draft.parts.items():
        written = ast.parse(part, mode="eval").body if isinstance(part, str) else parts[_part_field(key)]
        names[key] = _renamed(written, names)
    result: list[ModelClass] = []
    for index, each in enumerate(draft.classes):
        annotations = generated[_class_key(draft, index)]
        fields = [_field(field, _renamed(annotations[field.name], names)) for field in each.fields]
        more = None if each.more is None else ast.unparse(names[each.more])
        result.append(_class(each, fields, more))
    return tuple(result)


def _class(draft: ClassDraft, fields: list[ModelField], more: str | None) -> ModelClass:
    alias_of = fields[0].annotation if draft.is_alias else None
    return ModelClass(
        name=draft.name,
        docstring=draft.description,
        config=tuple(_config(draft)),
        fields=() if draft.is_alias else tuple(fields),
        alias_of=alias_of,
        more=more,
    )


def _config(draft: ClassDraft) -> Iterator[tuple[str, str]]:
    if draft.closed:
        yield "extra", repr("forbid")
    elif draft.more is not None:
        yield "extra", repr("allow")
    if any(field.name.startswith("model_") for field in draft.fields):
        # Else pydantic warns on import. Its own names are no danger: naming keeps fields away from them.
        yield "protected_namespaces", "()"


def _field(draft: FieldDraft, annotation: ast.expr) -> ModelField:
    optional = not draft.required and draft.default is None
    arguments = [ast.keyword("alias", ast.Constant(draft.wire_name))] if draft.name != draft.wire_name else []
    metadata: list[ast.expr] = []
    match annotation:
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *given])):
            for each in given:
                match each:
                    case ast.Call(func=ast.Name(id="Field"), keywords=keywords):
                        arguments += [ast.keyword(one.arg, _whole(one.value)) for one in keywords]
                    case _:
                        metadata.append(each)
        case inner:
            pass
    declared = inner
    if optional and not _allows_none(inner):
        declared = ast.BinOp(inner, ast.BitOr(), ast.Constant(None))
        # Validators of the value itself must not see the None that an absent member reads as.
        metadata = [*metadata, ast.Name("NotNull")]
    plain_type = ast.unparse(declared)
    if arguments:
        metadata.insert(0, ast.Call(ast.Name("Field"), [], arguments))
    if metadata:
        declared = ast.Subscript(ast.Name("Annotated"), ast.Tuple([declared, *metadata]))
    default = "None" if optional else None if draft.required else repr(draft.default)
    return ModelField(
        name=draft.name,
        wire_name=draft.wire_name,
        annotation=ast.unparse(declared),
        plain_type=plain_type,
        default=default,
        docstring=draft.description,
    )


def _whole(value: ast.expr) -> ast.expr:
    """Write `1.0` as `1`, as the contract does."""
    match value:
        case ast.Constant(value=float(number)) if number.is_integer():
            return ast.Constant(int(number))
        case _:
            return value


def _allows_none(annotation: ast.expr) -> bool:
    match annotation:
        case ast.Constant(value=None) | ast.Name(id="JsonValue"):
            return True
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _allows_none(left) or _allows_none(right)
        case _:
            return False


def _renamed(annotation: ast.expr, names: dict[str, ast.expr]) -> ast.expr:
    """Return the annotation with each placeholder replaced by what it stands for."""

    class Renaming(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:  # the name is ast's
            return names.get(node.id, node)

    result: ast.expr = Renaming().visit(annotation)
    return result


def _class_key(draft: SchemaDraft, index: int) -> str:
    return f"{draft.key}Class{index}"


def _part_field(key: str) -> str:
    return key.lower()
