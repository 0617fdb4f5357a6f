"""Settles the names of the classes of one schema, where two different objects have the same path name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from trellis_codegen import naming
from trellis_codegen.schemas.class_specs import ClassDraft
from trellis_codegen.schemas.identity import identify_classes

__all__ = ["settle_names"]


def settle_names(schema: str, drafts: Iterable[ClassDraft]) -> list[ClassDraft]:
    """Return the classes of the schema with the class name `schema`, each type with a name of its own where that is possible.

    Objects of one path name are named by their title; else by their full path, with the position in each union. What still
    has the name of another type keeps it, and is reported later.
    """
    classes = list(drafts)
    if len({draft.name for draft in classes}) == len(classes):
        return classes
    identity = identify_classes(classes)
    for rename in (_by_title, _by_full_path):
        met = _find_meetings(classes, identity)
        candidates = {draft.key: rename(schema, draft) for draft in classes if draft.name in met}
        wanted = Counter(
            name
            for name, _ in {
                (candidates[draft.key], identity[draft.key]) for draft in classes if draft.key in candidates
            }
        )
        taken = {draft.name for draft in classes}
        classes = [
            replace(draft, name=name)
            if (name := candidates.get(draft.key)) and wanted[name] == 1 and name not in taken
            else draft
            for draft in classes
        ]
    return classes


def _find_meetings(classes: list[ClassDraft], identity: dict[str, str]) -> set[str]:
    """Return the names that two different types have."""
    counts = Counter(name for name, _ in {(draft.name, identity[draft.key]) for draft in classes})
    return {name for name, count in counts.items() if count > 1}


def _by_title(schema: str, draft: ClassDraft) -> str | None:
    word = naming.pascal(draft.title or "")
    return naming.class_name(schema + word) if word else None


def _by_full_path(_schema: str, draft: ClassDraft) -> str | None:
    return draft.full_name
