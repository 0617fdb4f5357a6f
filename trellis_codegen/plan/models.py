"""The modules of `models/`: one per named schema, one per shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import JsonValue

from trellis_codegen import naming
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.plan.collisions import Claim, collisions
from trellis_codegen.plan.imports import Imports, imports_of
from trellis_codegen.problems import Pointer, Problem, ProblemsFound, Severity
from trellis_codegen.schemas.checking import check_schema
from trellis_codegen.schemas.models import ModelClass, translate
from trellis_codegen.schemas.shapes import Shape
from trellis_codegen.schemas.splitting import SchemaDraft, split

__all__ = ["ModelModule", "ModelsPlan", "ShapeImport", "plan_models"]


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
        return tuple(sorted({*(each.name for each in self.classes), *(each.local_name for each in self.shapes)}))


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelsPlan:
    """All models of a contract."""

    modules: tuple[ModelModule, ...]
    shapes: tuple[ModelModule, ...]
    exported: tuple[tuple[str, tuple[str, ...]], ...]
    """For `models/__init__.py`: each module with the names taken from it."""
    classes: dict[str, ModelClass]
    """Named schema → its class."""

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
    problems = [problem for name, schema in schemas.items() for problem in check_schema(schema, ("schemas", name))]
    problems += collisions(Claim(naming.pascal(name), ("schemas", name)) for name in schemas)
    problems += collisions(Claim(f"models.{naming.snake(name)}", ("schemas", name)) for name in schemas)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ProblemsFound(problems)
    modules: dict[str, ModelModule] = {}
    shapes: dict[Shape, ModelModule] = {}
    for index, (name, schema) in enumerate(schemas.items()):
        drafts = _drafts(naming.pascal(name), schema, f"S{index}", known=set(shapes), pointer=("schemas", name))
        translated = translate(drafts.values())
        for shape, draft in drafts.items():
            classes = translated[draft.key]
            if isinstance(shape, Shape):
                shapes[shape] = _module(shape.module, draft, classes, "An object that others are made of.", prefix=".")
            else:
                docstring = f"The `{name}` schema of the contract."
                modules[name] = _module(naming.attribute(name), draft, classes, docstring, prefix="._shapes.")
    exported, hidden = _exported(modules)
    plan = ModelsPlan(
        modules=tuple(modules.values()),
        shapes=tuple(sorted(shapes.values(), key=lambda each: each.module)),
        exported=exported,
        classes={name: module.classes[0] for name, module in modules.items()},
    )
    return plan, problems + hidden


def _drafts(
    name: str, schema: JsonValue, key: str, *, known: set[Shape], pointer: Pointer,
) -> dict[Shape | None, SchemaDraft]:  # fmt: skip
    """Take a schema and the shapes inside it apart; the schema itself stands under None."""
    try:
        result: dict[Shape | None, SchemaDraft] = {None: split(name, schema, key=key)}
        pending = [result[None]]
        while pending:
            for shape, nested in pending.pop().nested.items():
                if shape not in known and shape not in result:
                    result[shape] = split(shape.class_name, nested, key=f"{key}N{len(result)}")
                    pending.append(result[shape])
    except ProblemsFound as error:
        raise ProblemsFound([replace(problem, pointer=pointer, on_key=True) for problem in error.problems]) from None
    return result


def _module(module: str, draft: SchemaDraft, classes: tuple[ModelClass, ...], docstring: str, *, prefix: str) -> ModelModule:
    annotations = [*_annotations(classes)]
    used = {name for name, _ in draft.shapes.items()}
    return ModelModule(
        module=module,
        docstring=docstring,
        imports=imports_of(annotations),
        shapes=tuple(
            ShapeImport(module=f"{prefix}{shape.module}", class_name=shape.class_name, local_name=name)
            for name, shape in sorted(draft.shapes.items())
            if name in used
        ),
        classes=classes,
        uses_model=any(each.alias_of is None for each in classes),
    )


def _annotations(classes: tuple[ModelClass, ...]) -> Iterator[str]:
    for each in classes:
        if each.alias_of is not None:
            yield "TypeAlias"
            yield each.alias_of
        yield from (field.annotation for field in each.fields)


def _exported(modules: dict[str, ModelModule]) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], list[Problem]]:
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
