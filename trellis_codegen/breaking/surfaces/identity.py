"""Changes of the contract itself: its id, its rights, its exports, what it uses, its words."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, JsonValue

from trellis_codegen.breaking.surfaces.changes import ContractChange, find_removed
from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.contract.exchange import Use
from trellis_codegen.contract.manifest import Manifest

__all__ = [
    "find_capability_changes",
    "find_export_changes",
    "find_identity_changes",
    "find_use_changes",
    "find_word_changes",
]

_SURFACE = "the contract"
_WORDS = frozenset(["displayName", "description", "docs", "consequence", "purpose"])


def find_identity_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield another id, another kind."""
    for rule, field, before, after in (
        ("CONTRACT_ID_CHANGED", "id", old.id, new.id),
        ("CONTRACT_KIND_CHANGED", "kind", old.kind, new.kind),
    ):
        if before != after:
            words = {"old": before, "new": after}
            yield ContractChange(rule=rule, surface=_SURFACE, old=(field,), new=(field,), words=words)


def find_capability_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield declared rights that came and went."""
    before, after = old.capabilities or {}, new.capabilities or {}
    yield from find_removed("CAPABILITY_REMOVED", before, after, ("capabilities",), "capability")
    for name in after:
        if name not in before:
            yield ContractChange(
                rule="CAPABILITY_ADDED",
                surface=f"capability {name}",
                new=("capabilities", name),
                words={"name": name},
            )


def find_export_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield exports that went, and schemas with another name."""
    before = (old.exports.schemas if old.exports else None) or []
    after = (new.exports.schemas if new.exports else None) or []
    for index, name in enumerate(before):
        if name not in after:
            yield ContractChange(
                rule="EXPORT_REMOVED",
                surface=f"export {name}",
                old=("exports", "schemas", index),
                words={"name": name},
            )
    yield from _find_renamed_schemas(old, new)


def _find_renamed_schemas(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    before, after = old.schemas or {}, new.schemas or {}
    added = {name: canonical_json(schema) for name, schema in after.items() if name not in before}
    for name, schema in before.items():
        if name in after:
            continue
        text = canonical_json(schema)
        twin = next((other for other, its in added.items() if its == text), None)
        if twin is not None:
            del added[twin]
            yield ContractChange(
                rule="SCHEMA_RENAMED",
                surface=f"schema {twin}",
                old=("schemas", name),
                new=("schemas", twin),
                words={"old": name, "new": twin},
            )


def find_use_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield other uses of other contracts. An alias in both groups is required."""
    before, after = _list_uses(old), _list_uses(new)
    for alias, (group, use) in after.items():
        surface = f"use {alias}"
        place = ("uses", group, alias)
        known = before.get(alias)
        if known is None or (known[0], group) == ("optional", "required"):
            rule = "USES_REQUIRED_ADDED" if group == "required" else "USES_OPTIONAL_ADDED"
            yield ContractChange(rule=rule, surface=surface, new=place, words={"contract": use.contract})
        if known is None:
            continue
        if known[1].contract != use.contract:
            yield ContractChange(
                rule="USES_CONTRACT_CHANGED",
                surface=surface,
                old=("uses", known[0], alias, "contract"),
                new=(*place, "contract"),
                words={"old": known[1].contract, "new": use.contract},
            )
            continue
        items, others = _list_items(known[1]), _list_items(use)
        for section, verb, name in sorted(others - items):
            yield ContractChange(
                rule="USES_ITEM_ADDED",
                surface=surface,
                new=(*place, section, verb),
                words={"name": name, "verb": verb, "contract": use.contract},
            )
        if items - others:
            gone = ", ".join(sorted(name for _, _, name in items - others))
            yield ContractChange(
                rule="USES_REMOVED", surface=surface, old=place, new=place, words={"name": gone}
            )
    for alias, (group, use) in before.items():
        if alias not in after:
            yield ContractChange(
                rule="USES_REMOVED",
                surface=f"use {alias}",
                old=("uses", group, alias),
                words={"name": use.contract},
            )


def _list_uses(manifest: Manifest) -> dict[str, tuple[str, Use]]:
    optional = (manifest.uses.optional if manifest.uses else None) or {}
    required = (manifest.uses.required if manifest.uses else None) or {}
    found = {alias: ("optional", use) for alias, use in optional.items()}
    return found | {alias: ("required", use) for alias, use in required.items()}


def _list_items(use: Use) -> set[tuple[str, str, str]]:
    sections: tuple[tuple[str, BaseModel | None], ...] = (
        ("rpc", use.rpc),
        ("operations", use.operations),
        ("events", use.events),
        ("feeds", use.feeds),
    )
    return {
        (section, verb, name)
        for section, selection in sections
        if selection is not None
        for verb, names in selection.model_dump(exclude_none=True).items()
        for name in names
    }


def find_word_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield that names and texts for people differ, of what both contracts have."""
    before, after = (each.model_dump(by_alias=True, exclude_unset=True) for each in (old, new))
    if _have_other_words(before, after):
        yield ContractChange(rule="DOCS_CHANGED", surface=_SURFACE, old=(), new=())


def _have_other_words(old: JsonValue, new: JsonValue) -> bool:
    """Return whether a member for people differs. Embedded schemas are left out."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return False
    if any(old.get(name) != new.get(name) for name in _WORDS):
        return True
    return any(
        _have_other_words(each, new[name]) for name, each in old.items() if name != "schemas" and name in new
    )
