"""Callers of a file. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from trellis_admin.callers.changes import Entry
from trellis_admin.terminal import Column, Table

__all__ = ["describe_callers", "describe_change", "describe_unchecked", "tabulate_callers", "to_object"]


def tabulate_callers(entries: Sequence[Entry]) -> Table:
    """Return callers as a table."""
    table = Table(
        (
            Column("name"),
            Column("key"),
            Column("kind", is_minor=True),
            Column("is"),
            Column("capabilities", is_wide=True),
            Column("comment", is_wide=True, is_minor=True),
        )
    )
    for entry in entries:
        table.add(
            entry["name"],
            entry["key"],
            entry.get("kind", "service"),
            "disabled" if entry.get("disabled") else "active",
            " ".join(entry.get("capabilities", [])) or "-",
            entry.get("comment") or "-",
        )
    return table


def describe_callers(entries: Sequence[Entry]) -> str:
    """Return how many callers there are."""
    disabled = sum(bool(entry.get("disabled")) for entry in entries)
    return f"{len(entries):,} {'key' if len(entries) == 1 else 'keys'}" + (
        f", {disabled:,} of them disabled" if disabled else ""
    )


def describe_change(entry: Entry, *, is_removed: bool = False) -> str:
    """Return what a caller may do after a change."""
    name = f"{entry['name']} ({entry['key'][:8]}…)"
    if is_removed:
        return f"{name} is removed"
    if entry.get("disabled"):
        return f"{name} is disabled"
    capabilities: list[str] = entry.get("capabilities", [])
    return f"{name} may call what demands {', '.join(capabilities) or 'no capability'}"


def describe_unchecked(capabilities: Sequence[str]) -> str:
    """Return that the names of some capabilities were not checked."""
    return f"not checked: {', '.join(capabilities)}; --contract MANIFEST checks that a contract has such a capability"


def to_object(entry: Entry) -> dict[str, object]:
    """Return a caller with all members, for JSON."""
    return {
        "key": entry["key"],
        "name": entry["name"],
        "kind": entry.get("kind", "service"),
        "capabilities": entry.get("capabilities", []),
        "disabled": entry.get("disabled", False),
        "comment": entry.get("comment"),
    }
