"""The modules of `models/`: one per named schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pydantic import JsonValue

from trellis_codegen import naming
from trellis_codegen.contract.hints import hint_at_names
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.plan.collisions import Claim, find_collisions
from trellis_codegen.plan.homes import Home, Homes, find_homes
from trellis_codegen.plan.imports import Import, ImportGroups, find_imports, group_imports
from trellis_codegen.plan.usage import find_purposes
from trellis_codegen.problems import Problem, ProblemsFound, Severity, place
from trellis_codegen.rule_ids import Rule
from trellis_codegen.schemas.checking import check_schema
from trellis_codegen.schemas.class_specs import ClassDraft, SchemaDraft
from trellis_codegen.schemas.contradictions import find_contradictions
from trellis_codegen.schemas.event_header import without_required_header
from trellis_codegen.schemas.models import ModelClass, TranslationFailed, translate
from trellis_codegen.schemas.origins import report_losses
from trellis_codegen.schemas.preparing import prepare_schema
from trellis_codegen.schemas.reporting import find_unenforced
from trellis_codegen.schemas.schema_forms import find_description
from trellis_codegen.schemas.splitting import split

__all__ = ["ModelModule", "ModelsPlan", "plan_models"]

_NAMES_IN_DOCSTRING = 4
_LONGEST_MODULE = 200
"""File systems allow 255 bytes; the rest is for `.py`, for compiled files and for a file that is being written."""
_SCHEMAS_AT_ONCE = 40
"""The number of schemas that one call of the model generator gets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelModule:
    """One file of classes."""

    module: str
    docstring: str
    imports: ImportGroups
    classes: tuple[ModelClass, ...]
    """Classes and aliases, each after what it needs while the module is imported."""
    late_imports: ImportGroups
    """Imports from modules that import this one: they follow the classes."""
    exported: tuple[str, ...]
    """The path names of the schema and of every object inside it. They depend on this schema alone."""
    homes: dict[str, Home]
    """Path name → the class that it refers to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelsPlan:
    """All models of a contract."""

    modules: tuple[ModelModule, ...]
    exported: tuple[tuple[str, tuple[str, ...]], ...]
    """For `models/__init__.py`: each module with the names taken from it, sorted by module."""
    classes: dict[str, ModelClass]
    """Named schema → its class."""
    nested: dict[str, tuple[str, ...]]
    """Named schema → the names of the objects inside it, as far as they are exported."""
    descriptions: dict[str, str]
    """Named schema → its description; only those that have one."""

    def type_name(self, schema_name: str) -> str:
        """Return the Python name of a named schema's type."""
        return self.classes[schema_name].name

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that `models/__init__.py` exports, sorted."""
        return tuple(sorted(name for _, names in self.exported for name in names))

    @property
    def imports(self) -> tuple[Import, ...]:
        """What `models/__init__.py` imports."""
        return tuple(
            Import(module=f".{module}", name=name) for module, names in self.exported for name in names
        )

    def find_imports(self, schema_name: str, names: Iterable[str]) -> list[Import]:
        """Return the imports, for a file next to `models`, of those names that the module of a schema exports."""
        module = naming.attribute(schema_name)
        exported = {self.type_name(schema_name), *self.nested[schema_name]}
        own = next(candidate.exported for candidate in self.modules if candidate.module == module)
        return [
            Import(module=".models" if name in exported else f".models.{module}", name=name)
            for name in names
            if name in own
        ]


def plan_models(manifest: Manifest) -> tuple[ModelsPlan, list[Problem]]:
    """Plan the modules, and report which keywords of the schemas the models do not enforce.

    Raises:
        ProblemsFound: a schema can't be generated, or two of them would share a name.
    """
    schemas = dict(manifest.schemas or {})
    problems = [
        problem for name, schema in schemas.items() for problem in check_schema(schema, ("schemas", name))
    ]
    classes = [Claim(naming.class_name(name), ("schemas", name)) for name in schemas]
    files = [Claim(f"models.{naming.attribute(name)}", ("schemas", name)) for name in schemas]
    problems += [*find_collisions([*classes, *files]), *_long_names(schemas)]
    _raise_errors(problems)
    events = {event.event.schema_name for event in (manifest.events or {}).values()}
    schemas = {name: prepare_schema(schema) for name, schema in schemas.items()}
    schemas |= {name: without_required_header(schemas[name]) for name in events & schemas.keys()}
    problems += [
        problem
        for name, schema in schemas.items()
        for find in (find_unenforced, find_contradictions)
        for problem in find(schema, ("schemas", name))
    ]
    drafts, failures = _split_schemas(schemas)
    problems += [
        problem
        for name, draft in drafts.items()
        for problem in report_losses(draft.losses, schemas[name], ("schemas", name))
    ]
    homes = find_homes(drafts)
    failures += _clashes(drafts, homes)
    translated, untranslated = _translate_schemas(drafts, homes)
    problems += failures + untranslated
    _raise_errors(problems)
    planner = _Planner(homes, translated, find_purposes(manifest))
    modules = {name: planner.module(name, draft) for name, draft in drafts.items()}
    exported, hidden = _export(modules)
    plan = ModelsPlan(
        modules=tuple(modules.values()),
        exported=tuple(sorted((modules[name].module, names) for name, names in exported.items())),
        classes={name: planner.describe_class(draft.root, name) for name, draft in drafts.items()},
        nested={
            name: tuple(other for other in names if other != drafts[name].name)
            for name, names in exported.items()
        },
        descriptions={name: text for name, each in schemas.items() if (text := find_description(each))},
    )
    return plan, problems + hidden


def _long_names(schemas: Iterable[str]) -> Iterator[Problem]:
    for name in schemas:
        if len(naming.attribute(name)) > _LONGEST_MODULE:
            what = f"the name of its file would be longer than {_LONGEST_MODULE} characters"
            pointer = ("schemas", name)
            hint = hint_at_names([(pointer, name[: _LONGEST_MODULE // 4])], "")
            yield Problem(pointer=pointer, rule=Rule.NAME_TOO_LONG, what=what, hint=hint, on_key=True)


def _raise_errors(problems: list[Problem]) -> None:
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ProblemsFound(problems)


def _split_schemas(schemas: dict[str, JsonValue]) -> tuple[dict[str, SchemaDraft], list[Problem]]:
    """Take every schema apart; a problem of one is reported at its name."""
    drafts: dict[str, SchemaDraft] = {}
    problems: list[Problem] = []
    for index, (name, schema) in enumerate(schemas.items()):
        try:
            drafts[name] = split(naming.class_name(name), schema, key=f"S{index}")
        except ProblemsFound as error:
            problems += [
                replace(problem, pointer=("schemas", name), on_key=True) for problem in error.problems
            ]
    return drafts, problems


def _clashes(drafts: dict[str, SchemaDraft], homes: Homes) -> Iterator[Problem]:
    """Yield a problem for each path name that two different objects of one schema would get."""
    for schema, each in drafts.items():
        owners: dict[str, ClassDraft] = {}
        reported: set[str] = set()
        for draft in each.classes:
            owner = owners.setdefault(draft.name, draft)
            if homes.by_key[owner.key] != homes.by_key[draft.key] and draft.name not in reported:
                reported.add(draft.name)
                places = " and ".join(place(other.place) or "the schema itself" for other in (owner, draft))
                what = f"two different nested objects would both become the class {draft.name}: {places}"
                hint = 'give one of them a "title", which becomes its name'
                yield Problem(
                    pointer=("schemas", schema, *draft.place), rule=Rule.NAME_COLLISION, what=what, hint=hint
                )


def _translate_schemas(
    drafts: dict[str, SchemaDraft], homes: Homes
) -> tuple[dict[str, ModelClass], list[Problem]]:
    """Translate every class that is defined: many schemas at a time, because each call costs as much as many schemas do.

    When a call fails, its schemas are tried one by one, to find the one that is at fault.
    """
    translated: dict[str, ModelClass] = {}
    problems: list[Problem] = []
    classes = [draft for schema in drafts.values() for draft in schema.classes]
    by_key = {draft.key: draft for draft in classes}
    keeping = {homes.by_key[draft.key].key for draft in classes if draft.keeps_more}
    pending = [
        [*drafts][start : start + _SCHEMAS_AT_ONCE] for start in range(0, len(drafts), _SCHEMAS_AT_ONCE)
    ]
    while pending:
        schemas = pending.pop()
        defined = [
            replace(draft, keeps_more=draft.key in keeping)
            for schema in schemas
            for draft in drafts[schema].classes
            if homes.by_key[draft.key].key == draft.key
        ]
        try:
            translated |= translate(defined, classes=by_key)
        except TranslationFailed as error:
            if len(schemas) > 1:
                pending += [[schema] for schema in schemas]
                continue
            what = f"datamodel-code-generator cannot generate a model for it: {error}"
            problems.append(
                Problem(
                    pointer=("schemas", schemas[0]), rule=Rule.UNTRANSLATABLE_SCHEMA, what=what, on_key=True
                )
            )
    return translated, problems


@dataclass(frozen=True, slots=True)
class _Planner:
    """Plans one module at a time."""

    homes: Homes
    translated: dict[str, ModelClass]
    purposes: dict[str, str]

    def module(self, schema: str, draft: SchemaDraft) -> ModelModule:
        """Plan the module of one named schema."""
        classes = self._declared(schema, draft)
        homes = {model.name: self.homes.by_key[model.key] for model in draft.classes}
        names = {name for model in classes for name in _names_used(model)}
        early, late = find_imports(names), list[Import]()
        for name, home in homes.items():
            if home.schema != schema:
                on_circle = home.schema in self.homes.circles.get(schema, ())
                module = f".{naming.attribute(home.schema)}"
                alias = name if name != home.name else None
                (late if on_circle else early).append(Import(module=module, name=home.name, alias=alias))
        return ModelModule(
            module=naming.attribute(schema),
            docstring=f"The `{schema}` schema of the contract.",
            imports=group_imports(early),
            classes=tuple(classes),
            late_imports=group_imports(late),
            exported=tuple(sorted(homes)),
            homes=homes,
        )

    def describe_class(self, draft: ClassDraft, schema: str) -> ModelClass:
        """Return a class with a docstring: its description, else what it is for, else its members."""
        model = self.translated[draft.key]
        otherwise = "A type that contains itself." if model.is_recursive else _members_in_words(model)
        if draft.name == naming.class_name(schema):
            otherwise = self.purposes.get(schema) or f"The `{schema}` of the contract."
        return replace(model, docstring=model.docstring or otherwise)

    def _declared(self, schema: str, draft: SchemaDraft) -> list[ModelClass]:
        """Return the classes and the aliases of a module: a class follows what it is made of, where that is possible."""
        own = {model.key: model for model in draft.classes}
        declared: dict[str, ModelClass] = {}
        started: set[str] = set()

        def declare(key: str) -> None:
            home = self.homes.by_key[key]
            if key in started or home.schema != schema:
                return
            started.add(key)
            for reference in own[home.key].references if home.key == key else (home.key,):
                declare(reference)
            name = own[key].name
            if home.key == key:
                declared[name] = self.describe_class(own[key], schema)
            elif name != home.name and home.name in declared:
                declared.setdefault(name, _alias(name, home.name))
            elif name != home.name:
                started.discard(key)

        for model in (*draft.classes, *draft.classes):
            declare(model.key)
        return list(declared.values())


def _alias(name: str, target: str) -> ModelClass:
    return ModelClass(
        name=name, docstring=f"The same as `{target}`.", alias_of=target, names=frozenset([target])
    )


def _names_used(model: ModelClass) -> Iterator[str]:
    """Yield the names that the text of a class uses."""
    yield from model.names
    yield "TypeAlias" if model.alias_of else "Model"
    if model.is_recursive:
        yield from ("TYPE_CHECKING", "TypeAliasType")
    if model.more is not None:
        yield "Field"


def _members_in_words(model: ModelClass) -> str:
    names = [f"`{field.wire_name}`" for field in model.fields]
    if len(names) > _NAMES_IN_DOCSTRING:
        names = [*names[: _NAMES_IN_DOCSTRING - 1], "more"]
    words = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"An object with {words or 'no members'}."


def _export(modules: dict[str, ModelModule]) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Decide what `models` exports, by schema.

    A named schema goes before a nested object of the same name. Of two nested objects of one name neither is exported, unless
    both are one class: else an edit of one schema could give the name to another class.
    """
    named = {naming.class_name(schema): schema for schema in modules}
    owners: dict[str, set[Home]] = {}
    for module in modules.values():
        for name, home in module.homes.items():
            owners.setdefault(name, set()).add(home)
    exported: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    taken: set[str] = set()
    for schema, module in modules.items():
        names: list[str] = []
        for name in module.homes:
            if named.get(name, schema) == schema and (name in named or len(owners[name]) == 1):
                names += [name] if name not in taken else []
                taken.add(name)
            elif len(owners[name]) > 1:
                problems.append(_hidden(schema, module, name))
        exported[schema] = tuple(sorted(names))
    return exported, problems


def _hidden(schema: str, module: ModelModule, name: str) -> Problem:
    what = f"its nested class {name} is not exported, because the name is taken; import it from models.{module.module}"
    return Problem(
        pointer=("schemas", schema), rule=Rule.HIDDEN_CLASS, what=what, on_key=True, severity=Severity.WARNING
    )
