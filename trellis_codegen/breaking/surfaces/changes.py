"""What a rule about contracts finds, and how sections are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from trellis_codegen.breaking.rules.grades import Column, Grade
from trellis_codegen.problems import Pointer

__all__ = [
    "ContractChange",
    "find_added",
    "find_added_rights",
    "find_removed",
    "find_removed_rights",
    "list_common",
]

Entry = TypeVar("Entry")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractChange:
    """A change of a contract outside of schemas."""

    rule: str
    surface: str
    """Where it is, in words: `job queue reserve-inventory`."""
    old: Pointer | None = None
    """The place in the old contract; None if there is none."""
    new: Pointer | None = None
    """The place in the new contract; None if it is gone."""
    words: dict[str, str] = field(default_factory=dict[str, str])
    """What the placeholders of the message stand for."""
    grade: Grade | None = None
    """Instead of that of the rule."""
    columns: tuple[Column, ...] | None = None
    """Instead of those of the rule."""


def list_common(
    old: Mapping[str, Entry] | None, new: Mapping[str, Entry] | None
) -> Iterator[tuple[str, Entry, Entry]]:
    """Yield the entries that both sections have."""
    for name, entry in (old or {}).items():
        if new is not None and name in new:
            yield name, entry, new[name]


def find_added(
    old: Mapping[str, object] | None, new: Mapping[str, object] | None, section: Pointer, what: str
) -> Iterator[ContractChange]:
    """Yield the entries that are new, which break nothing."""
    for name in new or {}:
        if name not in (old or {}):
            yield ContractChange(rule="SURFACE_ADDED", surface=f"{what} {name}", new=(*section, name))


def find_removed(
    rule: str,
    old: Mapping[str, object] | None,
    new: Mapping[str, object] | None,
    section: Pointer,
    what: str,
) -> Iterator[ContractChange]:
    """Yield the entries that are gone."""
    for name in old or {}:
        if name not in (new or {}):
            yield ContractChange(
                rule=rule, surface=f"{what} {name}", old=(*section, name), words={"name": name}
            )


def find_added_rights(
    rule: str, old: list[str] | None, new: list[str] | None, place: Pointer, surface: str
) -> Iterator[ContractChange]:
    """Yield the capabilities that are required now."""
    for name in dict.fromkeys(new or []):
        if name not in (old or []):
            yield ContractChange(rule=rule, surface=surface, old=place, new=place, words={"name": name})


def find_removed_rights(
    old: list[str] | None, new: list[str] | None, place: Pointer, surface: str
) -> Iterator[ContractChange]:
    """Yield that fewer capabilities are required: risky if none is left."""
    gone = [name for name in old or [] if name not in (new or [])]
    if gone:
        yield ContractChange(
            rule="CALL_CAPABILITY_REMOVED",
            surface=surface,
            old=place,
            new=place if new is not None else place[:-1],
            words={"name": ", ".join(gone)},
            grade=Grade.SAFE if new else Grade.RISKY,
        )
