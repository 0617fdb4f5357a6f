"""Decides where the class of each nested object is defined: once for each type, however many places have it.

An object that equals a named schema is that schema's class. Any other is defined in the first schema that has it, in the
contract's order, except that a schema which embeds another named one comes after it. So a module imports only from modules
that came before; what contains itself is the one exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trellis_codegen.schemas.class_specs import ClassDraft, SchemaDraft
from trellis_codegen.schemas.identity import identify_classes

__all__ = ["Home", "Homes", "find_homes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """The place where a class is defined."""

    schema: str
    """The named schema whose module has it."""
    key: str
    """The key of its draft."""
    name: str
    """What it is called there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Homes:
    """The home of each class of a contract."""

    by_key: Mapping[str, Home]
    """The key of a class draft → the class that is used for it: itself where it is defined."""
    circles: Mapping[str, frozenset[str]]
    """Named schema → the schemas that it imports from and that import from it in turn; only those that have some."""


def find_homes(drafts: Mapping[str, SchemaDraft]) -> Homes:
    """Decide where each class is defined; `drafts` is in the contract's order."""
    finder = _Finder(
        drafts, identify_classes(draft for schema in drafts.values() for draft in schema.classes)
    )
    for schema in drafts:
        finder.visit(schema)
    by_key = {
        draft.key: finder.home_of(schema, draft) for schema, each in drafts.items() for draft in each.classes
    }
    imports = {
        schema: {home.schema for draft in each.classes if (home := by_key[draft.key]).schema != schema}
        for schema, each in drafts.items()
    }
    return Homes(by_key=by_key, circles=_circles(imports))


@dataclass(slots=True)
class _Finder:
    """Visits every schema once, those that it embeds first."""

    drafts: Mapping[str, SchemaDraft]
    identity: Mapping[str, str]
    named: dict[str, Home] = field(init=False)
    """The classes of named schemas, by identity; of several equal ones the first."""
    nested: dict[str, Home] = field(default_factory=dict[str, Home])
    """The classes of other objects, by identity."""
    visited: set[str] = field(default_factory=set[str])
    by_key: dict[str, ClassDraft] = field(init=False)

    def __post_init__(self) -> None:
        self.by_key = {draft.key: draft for schema in self.drafts.values() for draft in schema.classes}
        self.named = {}
        for schema, each in self.drafts.items():
            if not each.root.is_alias:
                self.named.setdefault(self.identity[each.root.key], _home(schema, each.root))

    def visit(self, schema: str) -> None:
        if schema in self.visited:
            return
        self.visited.add(schema)
        own = self._own_classes(schema)
        for draft in own:
            for key in draft.references:
                if embedded := self.named.get(self.identity[key]):
                    self.visit(embedded.schema)
        for draft in own[1:]:
            self.nested.setdefault(self.identity[draft.key], _home(schema, draft))

    def home_of(self, schema: str, draft: ClassDraft) -> Home:
        """Return the home of a class of `schema`; a class that equals the schema itself is the schema's own."""
        identity, root = self.identity[draft.key], self.drafts[schema].root
        if identity == self.identity[root.key]:
            return _home(schema, root)
        return self.named.get(identity) or self.nested[identity]

    def _own_classes(self, schema: str) -> list[ClassDraft]:
        """Return the class of a schema and those nested in it, without those of named schemas and what they embed."""
        root = self.drafts[schema].root
        found = {root.key: root}
        pending = [root]
        while pending:
            for key in pending.pop(0).references:
                if key not in found and self.identity[key] not in self.named:
                    found[key] = self.by_key[key]
                    pending.append(found[key])
        return [draft for draft in self.drafts[schema].classes if draft.key in found]


def _home(schema: str, draft: ClassDraft) -> Home:
    return Home(schema=schema, key=draft.key, name=draft.name)


def _circles(imports: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    """Return, for each module on a circle of imports, the modules on the same circle that it imports from."""
    reached = {schema: _reachable(schema, imports) for schema in imports}
    circles = {
        schema: frozenset(target for target in targets if schema in reached[target])
        for schema, targets in imports.items()
    }
    return {schema: targets for schema, targets in circles.items() if targets}


def _reachable(start: str, imports: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    pending = set(imports[start])
    while pending:
        each = pending.pop()
        reached.add(each)
        pending |= imports[each] - reached
    return reached
