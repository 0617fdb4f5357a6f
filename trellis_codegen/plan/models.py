"""The modules of `models/`: one per named schema, one per shape."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen import naming
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.plan.collisions import Claim, collisions
from trellis_codegen.plan.imports import Imports, imports_of
from trellis_codegen.plan.usage import purposes
from trellis_codegen.problems import Problem, ProblemsFound, Severity
from trellis_codegen.schemas.checking import check_schema
from trellis_codegen.schemas.class_specs import SchemaDraft
from trellis_codegen.schemas.models import ModelClass, TranslationFailed, translate
from trellis_codegen.schemas.reporting import losses_of
from trellis_codegen.schemas.schema_forms import description_of
from trellis_codegen.schemas.shapes import Shape
from trellis_codegen.schemas.splitting import split

__all__ = ["ModelModule", "ModelsPlan", "ShapeImport", "plan_models"]

_NAMES_IN_DOCSTRING = 4
_SCHEMAS_AT_ONCE = 40
"""As many as one call of the model generator gets."""

Parts: TypeAlias = dict[Shape | None, SchemaDraft]
"""What a schema is made of: itself, under None, and the shapes that no schema before it has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapeImport:
    """A nested object that a module uses under its own name for it."""

    module: str
    class_name: str
    local_name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelModule:
    """One file of classes."""

    module: str
    docstring: str
    imports: Imports
    shapes: tuple[ShapeImport, ...]
    classes: tuple[ModelClass, ...]
    uses_model: bool
    """Whether any of the classes is a model; aliases need no base class."""

    @property
    def exported(self) -> tuple[str, ...]:
        """The names that users may import from this module."""
        return tuple(
            sorted({*(each.name for each in self.classes), *(each.local_name for each in self.shapes)})
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelsPlan:
    """All models of a contract."""

    modules: tuple[ModelModule, ...]
    shapes: tuple[ModelModule, ...]
    exported: tuple[tuple[str, tuple[str, ...]], ...]
    """For `models/__init__.py`: each module with the names taken from it."""
    classes: dict[str, ModelClass]
    """Named schema → its class."""
    nested: dict[str, tuple[str, ...]]
    """Named schema → the names of the objects inside it, as far as they are exported."""
    descriptions: dict[str, str]
    """Named schema → what the contract says of it; only those that it says something of."""

    def type_name(self, schema_name: str) -> str:
        """Return the Python name of a named schema's type."""
        return self.classes[schema_name].name

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that `models/__init__.py` exports."""
        return tuple(sorted(name for _, names in self.exported for name in names))


def plan_models(manifest: Manifest) -> tuple[ModelsPlan, list[Problem]]:
    """Plan the modules, and say what of the schemas the models won't enforce.

    Raises:
        ProblemsFound: a schema can't be generated, or two of them would share a name.
    """
    schemas = dict(sorted((manifest.schemas or {}).items()))
    problems = [
        problem for name, schema in schemas.items() for problem in check_schema(schema, ("schemas", name))
    ]
    classes = [Claim(naming.class_name(name), ("schemas", name)) for name in schemas]
    files = [Claim(f"models.{naming.attribute(name)}", ("schemas", name)) for name in schemas]
    problems += collisions([*classes, *files])
    _raise_errors(problems)
    problems += [
        problem for name, schema in schemas.items() for problem in losses_of(schema, ("schemas", name))
    ]
    drafts, failures = _drafts(schemas)
    translated, untranslated = _translated(drafts)
    problems += failures + untranslated
    _raise_errors(problems)
    known_purposes = purposes(manifest)
    modules: dict[str, ModelModule] = {}
    shapes: dict[Shape, ModelModule] = {}
    for name, parts in drafts.items():
        for shape, draft in parts.items():
            if shape is None:
                modules[name] = _named_module(name, draft, translated[draft.key], known_purposes.get(name))
            else:
                shapes[shape] = _shape_module(shape, draft, translated[draft.key])
    exported, hidden = _exported(modules)
    plan = ModelsPlan(
        modules=tuple(modules.values()),
        shapes=tuple(sorted(shapes.values(), key=lambda each: each.module)),
        exported=exported,
        classes={name: module.classes[0] for name, module in modules.items()},
        nested={
            name: tuple(each for each in names if each != modules[name].classes[0].name)
            for name, (_, names) in zip(modules, exported, strict=True)
        },
        descriptions={name: text for name, each in schemas.items() if (text := description_of(each))},
    )
    return plan, problems + hidden


def _raise_errors(problems: list[Problem]) -> None:
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ProblemsFound(problems)


def _drafts(schemas: dict[str, JsonValue]) -> tuple[dict[str, Parts], list[Problem]]:
    """Take every schema apart; what is wrong with one stands at its name."""
    drafts: dict[str, Parts] = {}
    problems: list[Problem] = []
    known: set[Shape | None] = set()
    for index, (name, schema) in enumerate(schemas.items()):
        try:
            drafts[name] = _take_apart(naming.class_name(name), schema, f"S{index}", known=known)
        except ProblemsFound as error:
            problems += [replace(each, pointer=("schemas", name), on_key=True) for each in error.problems]
            continue
        known |= drafts[name].keys()
    return drafts, problems


def _translated(drafts: dict[str, Parts]) -> tuple[dict[str, tuple[ModelClass, ...]], list[Problem]]:
    """Translate every draft: many schemas at a time, because each call costs as much as many schemas do.

    When a call fails, its schemas are tried one by one, to learn whose fault it is.
    """
    translated: dict[str, tuple[ModelClass, ...]] = {}
    problems: list[Problem] = []
    pending = [
        [*drafts][start : start + _SCHEMAS_AT_ONCE] for start in range(0, len(drafts), _SCHEMAS_AT_ONCE)
    ]
    while pending:
        names = pending.pop()
        try:
            translated |= translate([draft for name in names for draft in drafts[name].values()])
        except TranslationFailed as error:
            if len(names) > 1:
                pending += [[name] for name in names]
                continue
            what = f"datamodel-code-generator can't make a model of it: {error}"
            problems.append(Problem(pointer=("schemas", names[0]), what=what, on_key=True))
    return translated, problems


def _take_apart(name: str, schema: JsonValue, key: str, *, known: AbstractSet[Shape | None]) -> Parts:
    """Take a schema apart, and the shapes inside it that nobody has seen before; the schema itself stands under None."""
    result: Parts = {None: split(name, schema, key=key)}
    pending = list(result[None].nested.items())
    while pending:
        shape, nested = pending.pop()
        if shape not in known and shape not in result:
            result[shape] = split(shape.class_name, nested, key=f"{key}N{len(result)}")
            pending += result[shape].nested.items()
    return result


def _named_module(
    name: str, draft: SchemaDraft, classes: tuple[ModelClass, ...], purpose: str | None
) -> ModelModule:
    own = replace(classes[0], docstring=classes[0].docstring or purpose or f"The `{name}` of the contract.")
    return _module(
        naming.attribute(name),
        f"The `{name}` schema of the contract.",
        (own, *map(_described, classes[1:])),
        [_import(shape, local_name, "._shapes.") for local_name, shape in draft.shapes.items()],
    )


def _shape_module(shape: Shape, draft: SchemaDraft, classes: tuple[ModelClass, ...]) -> ModelModule:
    return _module(
        shape.module,
        "A shape that models of the contract have inside.",
        tuple(map(_described, classes)),
        [_import(inner, local_name, ".") for local_name, inner in draft.shapes.items()],
    )


def _import(shape: Shape, local_name: str, package: str) -> ShapeImport:
    return ShapeImport(module=f"{package}{shape.module}", class_name=shape.class_name, local_name=local_name)


def _module(
    module: str, docstring: str, classes: tuple[ModelClass, ...], shapes: list[ShapeImport]
) -> ModelModule:
    return ModelModule(
        module=module,
        docstring=docstring,
        imports=imports_of(_annotations(classes)),
        shapes=tuple(sorted(shapes, key=lambda each: (each.module, each.local_name))),
        classes=classes,
        uses_model=any(each.alias_of is None for each in classes),
    )


def _described(model: ModelClass) -> ModelClass:
    """Say of a class without a description which members it has."""
    names = [f"`{field.wire_name}`" for field in model.fields]
    if len(names) > _NAMES_IN_DOCSTRING:
        names = [*names[: _NAMES_IN_DOCSTRING - 1], "more"]
    words = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return replace(model, docstring=model.docstring or f"An object with {words or 'no members'}.")


def _annotations(classes: tuple[ModelClass, ...]) -> Iterator[str]:
    for each in classes:
        if each.alias_of is not None:
            yield "TypeAlias"
            yield each.alias_of
        if each.more is not None:
            yield (
                f"Annotated[{each.more}, Field()]"
                if "Annotated" in each.more
                else f"dict[{each.more}, Field]"
            )
        yield from (field.annotation for field in each.fields)


def _exported(
    modules: dict[str, ModelModule],
) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], list[Problem]]:
    """Decide what `models` exports: a named schema goes before a nested object of the same name."""
    owners = {module.classes[0].name: module for module in modules.values()}
    problems: list[Problem] = []
    exported: list[tuple[str, tuple[str, ...]]] = []
    for schema_name, module in modules.items():
        names = tuple(name for name in module.exported if owners.setdefault(name, module) is module)
        for name in sorted(set(module.exported) - set(names)):
            what = f"the name of its nested {name} is taken; import it from models.{module.module}"
            pointer = ("schemas", schema_name)
            problems.append(Problem(pointer=pointer, what=what, on_key=True, severity=Severity.WARNING))
        exported.append((module.module, names))
    return tuple(exported), problems
